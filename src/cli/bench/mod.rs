//! `bench`: how many requests a second a cluster answers, and how long each of them takes.
//!
//! The load is closed or open (`load`), of keys and operations as asked (`workload`, `keys`,
//! `schedule`). What is measured (`record`) is printed (`report`) beside what the machine itself
//! takes (`machine`) and what the nodes and this process used (`servers`). `docs/measuring.md` says
//! how to read it. It leaves out other load than on single keys, and generators on several machines.

mod alarm;
mod compare;
mod keys;
mod load;
mod machine;
mod record;
mod report;
mod schedule;
mod servers;
mod settings;
mod sparkline;
mod workload;

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_client::{Client, MemberInfo};

use super::args::{BenchArgs, Common, word};
use super::connect::builder;
use super::output::Failed;
use crate::process::cpu_seconds;
use compare::Earlier;
use load::Load;
use machine::Machine;
use record::Record;
use report::{Generator, Report};
use schedule::Schedule;
use servers::{Readings, Servers};
use settings::Settings;
use workload::Workload;

/// The choice of keys and of times is the same in each run.
const SEED: u64 = 7;
/// The bar moves so often.
const BAR_STEP: Duration = Duration::from_millis(200);

/// `bench`
///
/// # Errors
/// When the arguments cannot be, the file to compare with is of another kind of run, no client can
/// connect, or no request succeeds.
pub async fn bench(common: &Common, args: &BenchArgs) -> Result<(), Failed> {
    let settings = Settings::of(args)?;
    let earlier = args.compare.as_deref().map(|path| Earlier::read(path, &settings)).transpose()?;
    let machine = Machine::measure(args.fsync_in.as_deref());
    let clients = connect(common, &settings).await?;
    let mut workload = Workload::new(&settings, SEED);
    if settings.prefill {
        let bar = bar(common, settings.keys, "filling");
        load::fill(&settings, &clients, &mut workload, &bar).await?;
        bar.finish_and_clear();
    }
    let (record, meanwhile) = measure(common, &settings, &clients, workload).await?;
    for client in clients {
        // A session that is not closed expires.
        let _ = client.close().await;
    }
    let answered = record.each_second.iter().sum();
    let servers = Servers::between(&meanwhile.before, &meanwhile.after, answered);
    let generator = Generator {
        cpu_seconds: meanwhile.own_cpu_seconds,
        seconds: settings.time.as_secs_f64(),
        requests: answered,
    };
    Report { settings: &settings, record, machine, servers, generator }
        .print(common, earlier.as_ref())
}

/// Connects every client, and looks whether the cluster takes such keys and values.
async fn connect(common: &Common, settings: &Settings) -> Result<Vec<Client>, Failed> {
    let mut clients = Vec::new();
    for number in 0..settings.clients {
        let window = settings.share(number) as u64;
        // While keys are filled in, one client may have all of it to send.
        let queue = settings.outstanding.max(1_024);
        clients.push(builder(common)?.window(window).queue(queue).connect().await?);
    }
    if let Some(first) = clients.first() {
        settings.fit(&first.connection().await?.limits)?;
    }
    Ok(clients)
}

/// What was used while the measured part ran.
struct Meanwhile {
    before: Readings,
    after: Readings,
    own_cpu_seconds: f64,
}

async fn measure(
    common: &Common,
    settings: &Settings,
    clients: &[Client],
    workload: Workload,
) -> Result<(Record, Meanwhile), Failed> {
    let members = match clients.first() {
        Some(client) => client.members().await.unwrap_or_default(),
        None => Vec::new(),
    };
    let origin = Instant::now();
    let schedule = Schedule::of(settings, SEED);
    let load = Load::new(settings, clients, workload, origin).run(schedule);
    let bar = bar(common, (settings.warm_up + settings.time).as_secs(), "");
    let (record, meanwhile) = tokio::join!(load, watch(settings, &members, origin, &bar));
    bar.finish_and_clear();
    Ok((record.map_err(|error| Failed::file("the timer", &error))?, meanwhile))
}

/// Shows how far it is, and reads what the nodes and this process use in the measured part.
async fn watch(
    settings: &Settings,
    members: &[MemberInfo],
    origin: Instant,
    bar: &ProgressBar,
) -> Meanwhile {
    bar.set_message(format!("{}, warming up", word(settings.what)));
    wait(origin, settings.warm_up, bar).await;
    let (before, own) = (Readings::take(members).await, cpu_seconds());
    bar.set_message(format!("{}, measuring", word(settings.what)));
    wait(origin, settings.warm_up + settings.time, bar).await;
    let own_cpu_seconds = cpu_seconds() - own;
    Meanwhile { before, after: Readings::take(members).await, own_cpu_seconds }
}

async fn wait(origin: Instant, until: Duration, bar: &ProgressBar) {
    loop {
        let passed = origin.elapsed();
        bar.set_position(passed.as_secs());
        if passed >= until {
            return;
        }
        tokio::time::sleep((until - passed).min(BAR_STEP)).await;
    }
}

/// A bar on stderr; hidden where nobody watches.
fn bar(common: &Common, length: u64, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{msg:>20} {bar:30} {pos} of {len}") {
        bar.set_style(style);
    }
    if common.quiet || common.json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}
