//! Connections whose other end went without a word: its host lost power, or the network between
//! went away. Left to itself, TCP takes minutes to notice, and as long again to go on after the
//! network is back. Progress however slow keeps a connection.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// What was sent is to be acknowledged within this time.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
/// An idle connection is looked after from then on, so often, and so many times in vain.
const IDLE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(2);
const TIMES: u32 = 3;

/// Has the kernel end a connection whose other end is gone. It also ends one whose other end
/// is there and takes nothing, which no task of ours can see: a client may do so for `patience`.
pub(crate) fn watch(stream: &TcpStream, patience: Option<Duration>) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(AGAIN).with_retries(TIMES);
    let mut set = socket.set_tcp_keepalive(&keepalive);
    if cfg!(target_os = "linux") {
        set = set.and_then(|()| limit(&socket, patience.unwrap_or(UNACKNOWLEDGED)));
    }
    if let Err(error) = set {
        log::debug!("tcp: a dead connection is noticed late: {error}");
    }
}

#[cfg(target_os = "linux")]
fn limit(socket: &SockRef<'_>, time: Duration) -> std::io::Result<()> {
    socket.set_tcp_user_timeout(Some(time))
}

#[cfg(not(target_os = "linux"))]
fn limit(_: &SockRef<'_>, _: Duration) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_connection_whose_other_end_is_gone_is_ended_in_seconds() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        watch(&dialled, None);
        let socket = SockRef::from(&dialled);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), IDLE);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
        let patience = Duration::from_secs(30);
        watch(&dialled, Some(patience));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(patience));
    }
}
