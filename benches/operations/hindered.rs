//! One node that is slow while a quorum is fast: its disk, its processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_harness::disk::Shim;
use quorate_harness::{Cluster, Setup};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::bench;
use crate::quorate;

const LOAD: &str = "put --clients 32 --outstanding 256 --seconds 5";

/// Puts without a hindrance and with each, in turns.
pub(crate) async fn run(rounds: u64) {
    let shim = match Shim::compile() {
        Ok(shim) => shim,
        Err(why) => return println!("{why}"),
    };
    let cluster = Setup::new(quorate(), 3).disk_faults(shim).start();
    cluster.leader().await;
    for _round in 0..rounds {
        let leader = cluster.leader().await;
        let follower = (1..=3).find(|id| *id != leader).expect("there are others");
        say(&cluster, "nobody is slow").await;
        cluster.disk(follower).delay_us(50_000);
        say(&cluster, "each sync of a follower takes 50 ms more").await;
        cluster.disk(follower).heal();
        cluster.settled().await;
        let brake = Brake::on(cluster.pid(follower));
        say(&cluster, "a follower stands still for 45 of every 50 ms").await;
        drop(brake);
        cluster.settled().await;
    }
}

async fn say(cluster: &Cluster, what: &str) {
    let put = bench(cluster, LOAD).await;
    let (rate, p50, p99) = (put.per_second(), put.latency("p50"), put.latency("p99"));
    println!("{what}: {rate:.0} puts/s, p50 {p50:.2} ms, p99 {p99:.2} ms");
}

/// A process that may run for a tenth of the time, until this is dropped.
struct Brake {
    released: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Brake {
    fn on(pid: Pid) -> Self {
        let released = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&released);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                kill_process(pid, Signal::STOP).ok();
                std::thread::sleep(Duration::from_millis(45));
                kill_process(pid, Signal::CONT).ok();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { released, thread: Some(thread) }
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.released.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is dropped once");
        thread.join().expect("it ends by itself");
    }
}
