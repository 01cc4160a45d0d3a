//! The paper, sentence by sentence: Ongaro and Ousterhout, *In Search of an Understandable
//! Consensus Algorithm (Extended Version)*, 2014 ("Raft §..."), and Ongaro's dissertation,
//! *Consensus: Bridging Theory and Practice*, 2014 ("dissertation §...").
//!
//! Each test says in its first line where its sentence stands. What is in quotation marks is the
//! author's wording; what is not is a paraphrase. Where Quorate deviates on purpose (the table in
//! `raft/mod.rs`), the test says "Here:" and checks what holds instead.
//!
//! The servers are real nodes, alone or a few; every message is delivered by hand.

#[path = "paper/clients.rs"]
mod clients;
#[path = "paper/elections.rs"]
mod elections;
#[path = "paper/figure2.rs"]
mod figure2;
#[path = "paper/liveness.rs"]
mod liveness;
#[path = "paper/reads.rs"]
mod reads;
#[path = "paper/receivers.rs"]
mod receivers;
#[path = "paper/replication.rs"]
mod replication;
#[path = "paper/safety.rs"]
mod safety;
#[path = "paper/server.rs"]
mod server;
