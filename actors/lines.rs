//! The connections of both listeners, counted as they come and until they are gone, whatever is
//! asked over them. A few more than allowed are let in to be told so, or how the node is; beyond
//! these, and for peers at once, a connection is cut. So neither listener can take from the other what it needs.

use std::any::Any;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_rt::net::TcpStream;
use actix_web::dev::Extensions;
use socket2::SockRef;

use crate::keepalive;
use crate::settings::Queues;

/// How many connections of peers may stand: a few for each member.
const PEERS: usize = 128;
/// How many clients over the limit are told so.
const SPARE: usize = 16;

/// The connections of a node.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Bounds>);

#[derive(Debug)]
struct Bounds {
    peer_address: SocketAddr,
    clients: AtomicUsize,
    peers: AtomicUsize,
    most_clients: usize,
    patience: Duration,
}

/// One connection; counts until it is dropped, with its socket.
#[derive(Debug)]
pub struct Line {
    bounds: Arc<Bounds>,
    of_peer: bool,
    number: usize,
}

impl Lines {
    /// No connections yet, at a listener for clients and one for peers.
    #[must_use]
    pub fn new(peer_address: SocketAddr, queues: &Queues) -> Self {
        Self(Arc::new(Bounds {
            peer_address,
            clients: AtomicUsize::new(0),
            peers: AtomicUsize::new(0),
            most_clients: queues.connections,
            patience: queues.client_patience,
        }))
    }

    /// How many may stand in all: more than are kept, so that accepting never stops.
    #[must_use]
    pub fn most(&self) -> usize {
        self.0.most_clients + 2 * SPARE + 2 * PEERS
    }

    /// A connection was accepted; its place is kept with it.
    pub fn accepted(&self, stream: &dyn Any, kept: &mut Extensions) {
        let Some(stream) = stream.downcast_ref::<TcpStream>() else { return };
        let line = self.line(stream.local_addr().is_ok_and(|own| self.is_forpeers(own)));
        if line.is_cut() {
            log::debug!("node: cut connection {}, more than are let in", line.number);
            let _ = SockRef::from(stream).shutdown(Shutdown::Both);
        } else {
            keepalive::watch(stream, (!line.of_peer).then_some(self.0.patience));
        }
        kept.insert(line);
    }

    fn is_forpeers(&self, own: SocketAddr) -> bool {
        let listening = self.0.peer_address;
        own.port() == listening.port()
            && (own.ip().to_canonical() == listening.ip().to_canonical()
                || listening.ip().is_unspecified())
    }

    fn line(&self, of_peer: bool) -> Line {
        let bounds = Arc::clone(&self.0);
        let number = bounds.count(of_peer).fetch_add(1, Ordering::Relaxed) + 1;
        Line { bounds, of_peer, number }
    }
}

impl Bounds {
    fn count(&self, of_peer: bool) -> &AtomicUsize {
        if of_peer { &self.peers } else { &self.clients }
    }
}

impl Line {
    /// Why nothing is answered over this connection; `None` where all is.
    #[must_use]
    pub fn surplus(&self) -> Option<String> {
        let most = self.bounds.most_clients;
        (!self.of_peer && self.number > most)
            .then(|| format!("{} connections are open, the limit is {most}", self.number - 1))
    }

    fn is_cut(&self) -> bool {
        let most = if self.of_peer { PEERS } else { self.bounds.most_clients + SPARE };
        self.number > most
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bounds.count(self.of_peer).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(most: usize) -> Lines {
        let queues = Queues { connections: most, ..Queues::default() };
        Lines::new(SocketAddr::from(([0, 0, 0, 0], 7201)), &queues)
    }

    #[test]
    fn clients_over_the_limit_are_told_so_and_beyond_a_few_cut() {
        let lines = lines(2);
        let mut open: Vec<Line> = (0..2 + SPARE).map(|_| lines.line(false)).collect();
        assert!(open[..2].iter().all(|line| line.surplus().is_none()));
        assert!(open[2..].iter().all(|line| line.surplus().is_some() && !line.is_cut()));
        assert!(lines.line(false).is_cut());
        open.truncate(1);
        assert!(lines.line(false).surplus().is_none());
    }

    #[test]
    fn clients_take_no_place_of_a_peer() {
        let lines = lines(1);
        let _kept: Vec<Line> = (0..9).map(|_| lines.line(false)).collect();
        let peers: Vec<Line> = (0..PEERS).map(|_| lines.line(true)).collect();
        assert!(peers.iter().all(|line| line.surplus().is_none() && !line.is_cut()));
        assert!(lines.line(true).is_cut());
    }

    #[test]
    fn the_listener_tells_a_peer_from_a_client() {
        let at = |ip: [u8; 4], port| SocketAddr::from((ip, port));
        assert!(lines(1).is_forpeers(at([10, 0, 0, 1], 7201)));
        assert!(!lines(1).is_forpeers(at([10, 0, 0, 1], 7101)));
        let one = Lines::new(at([10, 0, 0, 1], 7201), &Queues::default());
        assert!(!one.is_forpeers(at([127, 0, 0, 1], 7201)));
    }
}
