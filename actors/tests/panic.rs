//! A panic in an actor ends the process at once (rule 12). The test runs itself as the process.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use actix::prelude::*;

struct Fragile;

impl Actor for Fragile {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Touch;

impl Handler<Touch> for Fragile {
    type Result = ();
    fn handle(&mut self, _: Touch, _: &mut Self::Context) {
        panic!("a rule was broken");
    }
}

#[test]
fn a_panic_in_an_actor_aborts_the_process() {
    const ROLE: &str = "QUORATE_TEST_FRAGILE";
    if std::env::var_os(ROLE).is_some() {
        quorate_actors::fatal::abort_on_panic();
        let system = actix_rt::System::new();
        system.block_on(async {
            Fragile.start().do_send(Touch);
            actix_rt::time::sleep(std::time::Duration::from_secs(20)).await;
        });
        return;
    }
    let name = "a_panic_in_an_actor_aborts_the_process";
    let mut child = Command::new(std::env::current_exe().expect("a path"));
    let ended = child.args([name, "--exact"]).env(ROLE, "1").output().expect("it runs");
    assert_eq!(ended.status.signal(), Some(6), "it went on after a panic: {ended:?}");
}
