//! Attacks: a user who has the helper tries to capture connections of other users and of root. Both
//! victims are in the attacker's slice, where the programs run for them, too.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    cases::Case,
    client::{Client, connect_as_user, is_redirected, reached_pod},
    environment::{Environment, MAPPED, OTHER_SESSION, POD4, POD6, RunAs, SESSION, VIA},
    helper::Helper,
    identity::{send, socket_of},
    process::{Process, output},
};

const CONNECTIONS: usize = 10;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("hostile: redirects of addresses that others connect to", |environment| {
            let helper = Helper::start(environment);
            assert_no_capture(environment);
            helper.stop();
            assert_no_capture(environment);
        }),
        Case::new("hostile: every source port used before", seeded_ports),
        Case::new("hostile: every source port used before, helper killed", seed_and_kill_helper),
        Case::new("hostile: setuid programs that the attacker starts", setuid_programs),
        Case::new("hostile: sockets that the attacker hands over", handed_sockets),
        Case::new("hostile: another user cannot listen beside the listener", bind_same_port),
        Case::new("hostile: another user takes the listener's port", port_taken),
        Case::new("hostile: the listener's queue is full, and then it closes", full_queue),
        Case::new("hostile: two users redirect the same address", two_helpers),
        Case::new("hostile: eight helpers of one user", |environment| {
            let helpers: Vec<_> = (0..8).map(|_| Helper::start(environment)).collect();
            assert_no_capture(environment);
            drop(helpers);
        }),
    ]
}

fn assert_no_capture(environment: &Environment) {
    for run_as in [RunAs::other(), RunAs::root()] {
        for to in [POD4, POD6, MAPPED] {
            let result = Client::new(environment).run_as(&run_as).to(to).connects(CONNECTIONS);
            assert!(result.iter().all(|one| reached_pod(one)), "{to}: {result:?}");
        }
    }
}

/// The attack that breaks NAT redirects, see the process `seed`.
fn seed(environment: &Environment) {
    let mut command = environment.command(&RunAs::user().within(SESSION), &environment.plain());
    let seeded: usize = output(command.args(["seed", POD4])).trim().parse().expect("a number");
    assert!(seeded > 10_000, "{seeded}");
}

fn seeded_ports(environment: &Environment) {
    let helper = Helper::start(environment);
    seed(environment);
    assert_no_capture(environment);
    helper.stop();
    assert_no_capture(environment);
}

fn seed_and_kill_helper(environment: &Environment) {
    let mut helper = Helper::start(environment);
    seed(environment);
    helper.process.kill();
    assert_no_capture(environment);
}

fn setuid_programs(environment: &Environment) {
    let helper = Helper::start(environment);
    let options: [&[&str]; 3] = [&[], &["drop-euid"], &["drop-euid", "dumpable=1"]];
    for options in options {
        for program in [environment.setuid(), environment.setgid()] {
            let client = Client::new(environment).program(program).options(options);
            let result = client.connects(CONNECTIONS);
            assert!(result.iter().all(|one| reached_pod(one)), "{options:?}: {result:?}");
        }
    }
    for _ in 0..CONNECTIONS {
        let run_as = RunAs::user().first("socket=4300");
        let client = Client::new(environment).run_as(&run_as).program(environment.setuid());
        let result = client.options(&["inherited"]).connect();
        assert!(reached_pod(&result), "{result}");
    }
    helper.stop();
}

fn handed_sockets(environment: &Environment) {
    let helper = Helper::start(environment);
    for victim in [RunAs::other(), RunAs::root()] {
        for _ in 0..CONNECTIONS {
            let socket = socket_of(environment, &RunAs::user().within(SESSION));
            let mut probe = Client::new(environment).run_as(&victim).options(&["received"]).spawn();
            send(&probe, &socket);
            assert_eq!(probe.line(), "ready");
            let result = crate::client::connect(&mut probe);
            assert!(reached_pod(&result), "{result}");
        }
    }
    helper.stop();
}

/// Attack: bind another socket to the port. The kernel prefers the listener that matches best, and
/// the programs look up a listener without a device.
fn bind_same_port(environment: &Environment) {
    let addresses = ["127.0.0.1:7001", "0.0.0.0:7001", "[::ffff:127.0.0.1]:7001", "[::1]:7001"];
    let mut command = environment.command(&RunAs::other(), &environment.plain());
    assert_eq!(output(command.arg("beside").args(addresses).arg("[::]:7001")), "");
}

/// Here, the victim is the user who has the helper.
fn port_taken(environment: &Environment) {
    const PORT: u16 = 7004;
    let addresses = ["127.0.0.1:7004", "[::1]:7004"];
    let mut helper = Helper::ready(environment, &RunAs::user().within(SESSION));
    let (mut mine, _) = environment.server(&RunAs::user(), "LISTENER", &addresses);
    helper.apply(&[(POD4, PORT), (POD6, PORT)]).expect("a listener");
    assert!(is_redirected(&connect_as_user(environment, POD4)));
    mine.kill();
    let (_thief, _) = environment.server(&RunAs::other(), "THIEF", &addresses);
    for to in [POD4, POD6, MAPPED] {
        let result = Client::new(environment).to(to).connects(CONNECTIONS);
        assert!(result.iter().all(|one| one == "error ECONNREFUSED"), "{to}: {result:?}");
    }
    helper.stop();
}

/// A full queue drops the SYN. It is retransmitted after a second, to any new listener.
fn full_queue(environment: &Environment) {
    const PORT: u16 = 7006;
    let mut command = environment.command(&RunAs::user(), &environment.plain());
    let mut deaf = Process::start(command.args(["deaf", "127.0.0.1:7006"]));
    assert_eq!(deaf.line(), "up");
    let mut helper = Helper::ready(environment, &RunAs::user().within(SESSION));
    helper.apply(&[(POD4, PORT)]).expect("a listener");
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    let fill = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
    // Any user can do this.
    let queued: Vec<_> = std::iter::from_fn(|| fill().ok()).collect();
    assert!(!queued.is_empty());
    for to in [POD4, MAPPED] {
        let result = Client::new(environment).to(to).connect();
        assert_eq!(result, "error ECONNREFUSED", "{to}");
    }
    drop(queued);
    helper.stop();
}

/// The connections of each user reach the listener of that user.
fn two_helpers(environment: &Environment) {
    const PORT: u16 = 7005;
    let attacker = Helper::start(environment);
    let (_theirs, _) =
        environment.server(&RunAs::other(), "THEIRS", &["127.0.0.1:7005", "[::1]:7005"]);
    let session = RunAs::other().within(OTHER_SESSION);
    let mut victim = Helper::ready(environment, &session);
    // The victim's helper must refuse the attacker's listener.
    victim.apply(&[(POD4, VIA)]).unwrap_err();
    victim.apply(&[(POD4, PORT), (POD6, PORT)]).expect("a listener");
    for to in [POD4, POD6, MAPPED] {
        let result = Client::new(environment).exactly(&session).to(to).connects(CONNECTIONS);
        assert!(result.iter().all(|one| one.starts_with("THEIRS saw")), "{to}: {result:?}");
        assert!(is_redirected(&connect_as_user(environment, to)));
    }
    victim.stop();
    attacker.stop();
}
