//! `cluster`: all nodes of the configuration as child processes of this one.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::args::Common;
use super::connect::load;
use super::output::{Failed, exit, print_line};
use super::status::{ask_all, leader};
use crate::config::Config;

/// How long the nodes may take to elect a leader before that is said.
const READY_TIME: Duration = Duration::from_secs(30);
/// How long a node may take to stop before it is killed.
const STOP_TIME: Duration = Duration::from_secs(10);

/// `cluster`
///
/// # Errors
/// When a node cannot be started; with its own exit code where one ends before all are ready.
pub async fn cluster(common: &Common) -> Result<(), Failed> {
    let config = load(common)?;
    let mut ended = JoinSet::new();
    let mut pids = Vec::new();
    for node in &config.nodes {
        let child = start(common, node.id.0)?;
        pids.extend(child.id());
        ended.spawn(watch(node.id.0, child));
    }
    let result = tokio::select! {
        result = serve(&config, &mut ended) => result,
        () = crate::signals::stop() => Ok(()),
    };
    stop(&pids, &mut ended).await;
    result
}

fn start(common: &Common, id: u64) -> Result<Child, Failed> {
    let program = std::env::current_exe().map_err(|error| Failed::file("this program", &error))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&common.config);
    for (key, value) in &common.set {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    // A group of its own: Ctrl-C comes to this process, which stops the nodes in order.
    command
        .args(["node", "--with-parent", "--id", &id.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map_err(|error| {
        Failed::new(exit::INTERNAL, "spawn", format!("cannot start node {id}: {error}"))
    })
}

/// Prints a node's lines with its name before them; its exit code once it ends.
async fn watch(id: u64, mut child: Child) -> (u64, Option<i32>) {
    let out = child.stdout.take().map(|out| tokio::spawn(prefix(id, out)));
    let errors = child.stderr.take().map(|errors| tokio::spawn(prefix(id, errors)));
    let code = child.wait().await.ok().and_then(|status| status.code());
    for lines in [out, errors].into_iter().flatten() {
        drop(lines.await);
    }
    (id, code)
}

async fn prefix(id: u64, lines: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("n{id} | {line}");
    }
}

/// Waits until the nodes have a leader, says so, and then until all have ended.
async fn serve(config: &Config, ended: &mut JoinSet<(u64, Option<i32>)>) -> Result<(), Failed> {
    let addresses: Vec<String> =
        config.nodes.iter().map(|node| node.client_advertise.clone()).collect();
    let ready = ready(&addresses);
    tokio::pin!(ready);
    let mut is_ready = false;
    loop {
        tokio::select! {
            () = &mut ready, if !is_ready => is_ready = true,
            Some(Ok((id, code))) = ended.join_next() => {
                let how = code.map_or("by a signal".to_owned(), |code| format!("with exit code {code}"));
                eprintln!("quorate: node {id} ended {how}; start it again with: quorate node --id {id}");
                if !is_ready {
                    let text = format!("node {id} did not start");
                    return Err(Failed::new(code.unwrap_or(exit::INTERNAL), "node", text));
                }
                if ended.is_empty() {
                    let text = "every node has ended";
                    return Err(Failed::new(exit::UNREACHABLE, "node", text));
                }
            }
        }
    }
}

async fn ready(addresses: &[String]) {
    let started = Instant::now();
    loop {
        let answers = ask_all(addresses, Duration::from_millis(500)).await;
        let all = answers.iter().all(|answer| answer.status.is_ok());
        if let (Some(leader), true) = (leader(&answers), all) {
            let took = started.elapsed().as_secs_f64();
            let _ = print_line(format_args!("\n{:<6}{:<24}ROLE", "NODE", "CLIENT ADDRESS"));
            for status in
                answers.iter().filter_map(|answer| Some((answer, answer.status.as_ref().ok()?)))
            {
                let (answer, status) = status;
                let row = format!("n{:<5}{:<24}{}", status.node, answer.address, status.role);
                let _ = print_line(row);
            }
            let _ = print_line(format_args!(
                "\nready: leader n{} after {took:.1} s. Try: quorate put greeting hello; quorate status. Ctrl-C stops all.\n",
                leader.node
            ));
            return;
        }
        if started.elapsed() > READY_TIME {
            eprintln!("quorate: no leader yet after {} s", READY_TIME.as_secs());
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks every node to stop, and kills what does not.
async fn stop(pids: &[u32], ended: &mut JoinSet<(u64, Option<i32>)>) {
    for pid in pids {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            // A node that has ended already is no longer there to be told.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
    let all = async { while ended.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIME, all).await.is_err() {
        eprintln!(
            "quorate: some nodes did not stop within {} s and are killed",
            STOP_TIME.as_secs()
        );
        ended.abort_all();
    }
}
