//! One connection: dials on, and pumps both directions until either ends.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::pump::Pump;
use super::{Connection, Shared, Way};

/// Relays a connection that was accepted until it ends.
pub(super) async fn relay(
    shared: Arc<Shared>,
    number: u64,
    way: Way,
    dialler: TcpStream,
    target: String,
) {
    // Where nobody listens, the dialler sees its connection end at once.
    let Ok(acceptor) = TcpStream::connect(&target).await else { return };
    let _ = (dialler.set_nodelay(true), acceptor.set_nodelay(true));
    let (ended, _) = watch::channel(false);
    let (silenced, _) = watch::channel([false, false]);
    let connection = Arc::new(Connection { way, ended, silenced });
    shared.state().connections.insert(number, Arc::clone(&connection));
    let (from_dialler, to_dialler) = dialler.into_split();
    let (from_acceptor, to_acceptor) = acceptor.into_split();
    let forward = Pump::new(&shared, &connection, number, way, from_dialler, to_acceptor);
    let back = Pump::new(&shared, &connection, number, way.back(), from_acceptor, to_dialler);
    let mut over = connection.ended.subscribe();
    tokio::select! {
        () = forward.run() => {}
        () = back.run() => {}
        _ = over.wait_for(|ended| *ended) => {}
    }
    shared.state().connections.remove(&number);
}
