//! The shortest program: one node, one client, a few operations.
//!
//! `cargo run --release --example quickstart`

use std::process::ExitCode;

use quorate_client::{Client, Error};
use quorate_core::wire::client::Expect;

mod support;

fn main() -> ExitCode {
    if let Some(code) = support::be_a_node_if_asked() {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.expect("a runtime").block_on(quickstart()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn quickstart() -> Result<(), Error> {
    // A cluster of one. With `quorate cluster` running, its addresses serve as well.
    let cluster = quorate_harness::Cluster::of_this_program(1, "");

    let client = Client::builder().endpoints(cluster.endpoints()).connect().await?;

    client.put("greeting", "hello").await?;
    let entry = client.get("greeting").await?.entry.expect("it was just written");
    assert_eq!(entry.value, "hello");
    println!("greeting = hello, written at revision {}", entry.mod_revision);

    let length = client.append("greeting", ", world").await?.length;
    assert_eq!(length, 12);

    // Only one of many who try wins.
    let won = client.compare_and_swap("lock", Expect::Absent, Some("me".into())).await?;
    assert!(won.swapped);
    let lost = client.compare_and_swap("lock", Expect::Absent, Some("you".into())).await?;
    assert!(!lost.swapped);
    println!("the lock is held by {:?}", lost.entry.map(|entry| entry.value));

    let number = client.increment("visits", 41).await?.number;
    assert_eq!(number + client.increment("zero", 1).await?.number, 42);

    assert!(client.delete("lock").await?.deleted);
    client.close().await?;
    println!("done");
    Ok(())
}
