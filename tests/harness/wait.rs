//! Conditions with a deadline, and addresses that are free.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Looks until there is an answer; panics after the deadline.
pub async fn wait_for<T>(
    what: &str,
    time: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {time:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Looks, without a runtime, until it is so; panics after 20 s.
///
/// # Panics
/// When it does not come about in time.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "no {what} within 20 s");
        std::thread::yield_now();
    }
}

/// Ports that the system gives to nobody who does not ask for one by number: a proxy or a
/// client's connection would else take one between its choice and the start of its node.
const PORTS: Range<u16> = 10_000..32_000;

/// Where this process goes on to look; another one most likely began elsewhere.
static NEXT: LazyLock<AtomicU64> =
    LazyLock::new(|| AtomicU64::new(RandomState::new().build_hasher().finish()));

/// Addresses that nobody listens on now.
#[must_use]
pub fn free_addresses(count: u64) -> Vec<String> {
    (0..count).map(|_| free_address()).collect()
}

fn free_address() -> String {
    for _ in PORTS {
        let place = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u64;
        let port = u64::from(PORTS.start) + place;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("every port is taken");
}
