//! `members`, `member ...`, `leader ...`, `snapshot`: who is in the cluster, and who leads it.
//!
//! Every change says first what it does to the quorum. The leader refuses by itself what would
//! stop the cluster, unless it is forced.

use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use comfy_table::{Table, presets::NOTHING};
use quorate_client::Client;
use quorate_core::types::NodeId;
use quorate_core::wire::client::{Admin, MemberInfo, Op, Success};
use serde_json::json;

use super::args::{AddArgs, Common, LeaderCommand, MemberCommand, ReplaceArgs};
use super::connect::{builder, endpoints, load};
use super::output::{Failed, exit, print_line};
use super::status::{Answer, ask_all, leader};

/// `members`
///
/// # Errors
/// The client's.
pub async fn members(common: &Common) -> Result<(), Failed> {
    let members = builder(common)?.sessionless(true).connect().await?.members().await?;
    print(common, &members)
}

fn print(common: &Common, members: &[MemberInfo]) -> Result<(), Failed> {
    if common.json() {
        return print_line(json!({ "members": members }));
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["NODE", "ROLE", "CLIENT", "PEER"]);
    for member in members {
        let id = format!("n{}", member.id);
        table.add_row([id, member.role.clone(), member.client.clone(), member.peer.clone()]);
    }
    print_line(table)?;
    let voters = count_voters(members);
    print_line(format_args!("{voters} voters: {}", tolerance(voters)))
}

fn count_voters(members: &[MemberInfo]) -> usize {
    members.iter().filter(|member| member.role == "voter").count()
}

fn tolerance(voters: usize) -> String {
    let (quorum, spare) = (voters / 2 + 1, voters.saturating_sub(1) / 2);
    format!("a quorum is {quorum} of {voters}, may lose {spare}")
}

/// `member ...`
///
/// # Errors
/// Why it is not done: the leader's sentence, or the client's.
pub async fn member(common: &Common, command: &MemberCommand) -> Result<(), Failed> {
    let client = builder(common)?.sessionless(true).connect().await?;
    match command {
        MemberCommand::Add(add) => self::add(common, &client, add).await,
        MemberCommand::Promote { id, force } => {
            let admin = Admin::PromoteMember { id: NodeId(*id), force: *force };
            changed(common, &call(&client, admin).await?)
        }
        MemberCommand::Remove { id, force, yes } => {
            remove(common, &client, NodeId(*id), *force, *yes).await
        }
        MemberCommand::Replace(replace) => self::replace(common, &client, replace).await,
        MemberCommand::Set { id, peer, client: address } => {
            let (id, peer, to) = (NodeId(*id), peer.clone(), address.clone());
            let admin = Admin::MoveMember { id, peer, client: to };
            changed(common, &call(&client, admin).await?)
        }
    }
}

async fn call(client: &Client, admin: Admin) -> Result<Vec<MemberInfo>, Failed> {
    // A change waits for two commits, and perhaps for an election.
    match client.call(Op::Admin(admin), Some(Duration::from_secs(30))).await? {
        Success::Members(members) => Ok(members),
        _ => Ok(vec![]),
    }
}

fn changed(common: &Common, members: &[MemberInfo]) -> Result<(), Failed> {
    print(common, members)
}

async fn add(common: &Common, client: &Client, args: &AddArgs) -> Result<(), Failed> {
    let AddArgs { id, peer, client: address, standby, wait } = args;
    let (id, peer, address) = (NodeId(*id), peer.clone(), address.clone());
    let before = count_voters(&client.members().await?);
    let admin = Admin::AddMember { id, peer, client: address, standby: *standby };
    let members = call(client, admin).await?;
    if common.json() {
        return print(common, &members);
    }
    let kind = if *standby { "standby" } else { "learner" };
    print_line(format_args!("added n{id} as {kind}: {} (unchanged)", tolerance(before)))?;
    if *standby {
        return Ok(());
    }
    if !wait {
        return print_line(format_args!(
            "start it with an empty data directory and cluster.join (or --join); it becomes a voter once it has caught up"
        ));
    }
    wait_for_vote(client, id).await?;
    print_line(format_args!("n{id} is a voter: {}", tolerance(before + 1)))?;
    if (before + 1).is_multiple_of(2) {
        print_line("an odd number of voters serves better: one more may be lost with it")?;
    }
    Ok(())
}

/// Waits until a learner has become a voter.
async fn wait_for_vote(client: &Client, id: NodeId) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(600);
    while Instant::now() < deadline {
        let members = client.members().await?;
        match members.iter().find(|member| member.id == id) {
            None => return Err(Failed::new(exit::NO, "not_found", format!("n{id} was removed"))),
            Some(member) if member.role == "voter" => return Ok(()),
            Some(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    let text = format!(
        "n{id} has not caught up within 10 minutes: is it running with cluster.join, and can the leader reach its peer address?"
    );
    Err(Failed::new(exit::UNREACHABLE, "timeout", text))
}

async fn remove(
    common: &Common,
    client: &Client,
    id: NodeId,
    force: bool,
    yes: bool,
) -> Result<(), Failed> {
    preview(common, client, id).await?;
    confirm(&format!("remove n{id}?"), yes)?;
    changed(common, &call(client, Admin::RemoveMember { id, force }).await?)
}

/// A disk is lost: its node is removed, and comes back as a new member.
async fn replace(common: &Common, client: &Client, args: &ReplaceArgs) -> Result<(), Failed> {
    let id = NodeId(args.id);
    let members = client.members().await?;
    let old = members.iter().find(|member| member.id == id);
    let old = old.ok_or_else(|| {
        let (peer, client) = addresses_of(common, args);
        let text = format!(
            "node {id} is not a member: quorate members. If its replacement was interrupted, its removal is done: {}",
            add_line(id, &peer, &client)
        );
        Failed::new(exit::NO, "not_found", text)
    })?;
    let peer = args.peer.clone().unwrap_or_else(|| old.peer.clone());
    let address = args.client.clone().unwrap_or_else(|| old.client.clone());
    preview(common, client, id).await?;
    confirm(
        &format!("replace n{id}? Its data directory must be empty when it starts again"),
        args.yes,
    )?;
    call(client, Admin::RemoveMember { id, force: args.force }).await?;
    let line = add_line(id, &peer, &address);
    if !common.json() {
        eprintln!("n{id} is removed. Should this end before it is added again: {line}");
    }
    let admin = Admin::AddMember { id, peer, client: address, standby: false };
    let members = call(client, admin).await.map_err(|failed| only_removed(failed, id, &line))?;
    if !common.json() {
        print_line(format_args!(
            "n{id} is a new member now. Start it with an empty data directory: quorate node --id {id} --join {}",
            old_clients(&members, id)
        ))?;
    }
    print(common, &members)
}

/// The command that adds a node.
fn add_line(id: NodeId, peer: &str, client: &str) -> String {
    format!("quorate member add {id} --peer {peer} --client {client}")
}

/// The second half of a replacement failed; the first is done.
fn only_removed(mut failed: Failed, id: NodeId, line: &str) -> Failed {
    failed.message = format!("{}. n{id} is removed, and not added again: {line}", failed.message);
    failed
}

/// The addresses of a node that is no member: as they were named, or as the file has them.
fn addresses_of(common: &Common, args: &ReplaceArgs) -> (String, String) {
    let node = load(common).ok().and_then(|config| config.node(NodeId(args.id)).ok().cloned());
    let of = |named: &Option<String>, known: Option<String>| {
        named.clone().or(known).unwrap_or_else(|| "HOST:PORT".to_owned())
    };
    let (peer, client) = node.map(|node| (node.peer_advertise, node.client_advertise)).unzip();
    (of(&args.peer, peer), of(&args.client, client))
}

fn old_clients(members: &[MemberInfo], but: NodeId) -> String {
    let others = members.iter().filter(|member| member.id != but);
    others.map(|member| member.client.clone()).collect::<Vec<_>>().join(",")
}

/// Says what the quorum is before and after a removal, and who answers.
async fn preview(common: &Common, client: &Client, id: NodeId) -> Result<(), Failed> {
    if common.json() {
        return Ok(());
    }
    let members = client.members().await?;
    let addresses: Vec<String> = members.iter().map(|member| member.client.clone()).collect();
    let answers = ask_all(&addresses, Duration::from_secs(1)).await;
    let voters = members.iter().filter(|member| member.role == "voter");
    let up = |member: &MemberInfo| {
        answers.iter().any(|answer| answer.address == member.client && answer.status.is_ok())
    };
    let after: Vec<&MemberInfo> = voters.filter(|member| member.id != id).collect();
    let reachable = after.iter().filter(|member| up(member)).count();
    eprintln!(
        "now: {}. Afterwards: {}, {reachable} of them reachable",
        tolerance(count_voters(&members)),
        tolerance(after.len())
    );
    Ok(())
}

/// A person on a terminal is asked; a script must have said so.
fn confirm(question: &str, yes: bool) -> Result<(), Failed> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failed::usage(format!("{question} Add --yes to do it without asking")));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read =
        std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    match read {
        Ok(_) if answer.trim().eq_ignore_ascii_case("y") => Ok(()),
        _ => Err(Failed::new(exit::NO, "not_done", "nothing was changed")),
    }
}

/// `leader`, `leader transfer`
///
/// # Errors
/// Where there is no leader, or it does not hand over.
pub async fn leadership(common: &Common, command: Option<&LeaderCommand>) -> Result<(), Failed> {
    let timeout = Duration::from_millis(common.timeout_ms.min(2_000));
    let addresses = endpoints(common)?;
    if let Some(LeaderCommand::Transfer { to }) = command {
        let client = builder(common)?.sessionless(true).connect().await?;
        let to = NodeId(to.unwrap_or(0));
        call(&client, Admin::TransferLeadership { to }).await?;
        // It is given up and not taken over yet: for a moment nobody leads.
        let started = Instant::now();
        while started.elapsed() < timeout {
            let answers = ask_all(&addresses, timeout).await;
            if leader(&answers).is_some_and(|status| to.0 == 0 || status.node == to.0) {
                return tell_leader(common, &answers);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let answers = ask_all(&addresses, timeout).await;
    tell_leader(common, &answers)
}

fn tell_leader(common: &Common, answers: &[Answer]) -> Result<(), Failed> {
    // Who was elected may not say so yet: the others know whom they follow.
    let newest = answers.iter().filter_map(|answer| answer.status.as_ref().ok());
    let newest = newest.filter(|status| status.leader.is_some()).max_by_key(|status| status.term);
    let Some((status, known)) = newest.and_then(|status| Some((status, status.leader.as_ref()?)))
    else {
        return Err(Failed::new(exit::UNREACHABLE, "no_leader", "no node knows a leader"));
    };
    if common.json() {
        return print_line(json!({ "leader": known, "term": status.term }));
    }
    print_line(format_args!("n{}  {}  term {}", known.id, known.address, status.term))
}

/// `snapshot`: a checkpoint on every node that answers.
///
/// # Errors
/// Where no node answers.
pub async fn snapshot(common: &Common) -> Result<(), Failed> {
    let mut done = 0;
    let mut last = String::from("no endpoint");
    for address in endpoints(common)? {
        let client = Client::builder().endpoint(&address).pinned(true).sessionless(true);
        let client = client.deadline(Duration::from_millis(common.timeout_ms)).connect().await;
        let asked = match client {
            Ok(client) => {
                let time = Some(Duration::from_secs(60));
                client.call(Op::Admin(Admin::Snapshot), time).await.map(drop)
            }
            Err(error) => Err(error),
        };
        match asked {
            Ok(()) => {
                done += 1;
                print_line(format_args!("{address}  checkpoint is durable"))?;
            }
            Err(error) => {
                last = error.to_string();
                eprintln!("quorate: {address}: {last}");
            }
        }
    }
    if done == 0 {
        return Err(Failed::new(
            exit::UNREACHABLE,
            "unreachable",
            format!("no checkpoint: {last}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_replacement_says_which_half_and_how_to_go_on() {
        let line = add_line(NodeId(3), "c:1", "c:2");
        let failed = only_removed(
            Failed::new(exit::UNREACHABLE, "no_leader", "no leader"),
            NodeId(3),
            &line,
        );
        assert_eq!(failed.exit, exit::UNREACHABLE);
        assert_eq!(
            failed.message,
            "no leader. n3 is removed, and not added again: quorate member add 3 --peer c:1 --client c:2"
        );
    }
}
