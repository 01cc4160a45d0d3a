//! What waits between a session and its socket. The web server takes a websocket's messages as
//! the body of a response, out of a channel that counts messages and not bytes; here bytes are
//! counted as they go in and as they are taken out, so that the task that writes waits in time,
//! and sees a client that takes nothing.

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// While so many bytes wait in the channel, no further message goes in.
const WAITING_BYTES: usize = 64 << 10;

/// Counts what waits for one socket; shared by the task that writes and the body that is read.
#[derive(Clone, Debug, Default)]
pub struct Outbox(Rc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: Cell<usize>,
    /// Since when something waits.
    since: Cell<Option<Instant>>,
    taken: Notify,
}

impl Outbox {
    /// The response, whose body tells this outbox what is taken out of it.
    #[must_use]
    pub fn watch(&self, response: HttpResponse) -> HttpResponse {
        let outbox = self.clone();
        response.map_body(|_, body| BoxBody::new(Watched { body, outbox }))
    }

    /// Waits until a further message may go in.
    pub async fn room(&self) {
        while self.0.bytes.get() >= WAITING_BYTES {
            self.0.taken.notified().await;
        }
    }

    /// A message went in.
    pub fn put(&self, bytes: usize) {
        self.0.bytes.set(self.0.bytes.get() + bytes);
        if self.0.since.get().is_none() {
            self.0.since.set(Some(Instant::now()));
        }
    }

    /// The body was read, which takes all that waits; or there is no body any more.
    fn take(&self) {
        self.0.bytes.set(0);
        self.0.since.set(None);
        self.0.taken.notify_one();
    }

    /// Ends when what waits has waited for so long; never where nothing waits. To be asked anew
    /// after each [`put`](Self::put).
    pub async fn stalled(&self, time: Duration) {
        while let Some(since) = self.0.since.get() {
            if timeout_at(since + time, self.0.taken.notified()).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

struct Watched {
    body: BoxBody,
    outbox: Outbox,
}

impl MessageBody for Watched {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(context);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.outbox.take();
        }
        polled
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.outbox.take();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    async fn stalls(outbox: &Outbox) -> bool {
        let stalled = outbox.stalled(Duration::from_millis(5));
        timeout(Duration::from_millis(50), stalled).await.is_ok()
    }

    async fn has_room(outbox: &Outbox) -> bool {
        timeout(Duration::from_millis(5), outbox.room()).await.is_ok()
    }

    #[tokio::test]
    async fn only_what_waits_can_stall() {
        let outbox = Outbox::default();
        assert!(!stalls(&outbox).await);
        outbox.put(1);
        assert!(stalls(&outbox).await);
        outbox.take();
        assert!(!stalls(&outbox).await);
    }

    #[tokio::test]
    async fn a_message_goes_in_once_the_one_before_is_taken() {
        let outbox = Outbox::default();
        assert!(has_room(&outbox).await);
        outbox.put(WAITING_BYTES);
        assert!(!has_room(&outbox).await);
        outbox.take();
        assert!(has_room(&outbox).await);
    }
}
