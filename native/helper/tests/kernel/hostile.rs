//! A user who has the helper and wants other users' and root's connections: none is captured. Both
//! victims are in the attacker's own slice, where the programs run for them.

use crate::{
    client::{Client, is_at_pod, is_led, user_to},
    ground::{Ground, MAPPED, OTHER_SESSION, POD4, POD6, SESSION, VIA, Who},
    helper::Helper,
    identity::{send, socket_of},
    process::output,
    rows::Row,
};

const CONNECTIONS: usize = 10;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("hostile: redirects of the addresses that others use", |ground| {
            let helper = Helper::start(ground);
            assert_nobody_is_captured(ground);
            helper.stop();
            assert_nobody_is_captured(ground);
        }),
        Row::new("hostile: every source port used before", seeded_ports),
        Row::new("hostile: every source port used before, helper killed", seeded_and_killed),
        Row::new("hostile: setuid programs that the attacker starts", setuid_programs),
        Row::new("hostile: sockets that the attacker hands over", handed_sockets),
        Row::new("hostile: another user cannot listen beside the listener", nobody_beside),
        Row::new("hostile: another user takes the listener's port", port_taken),
        Row::new("hostile: two users redirect the same address", two_helpers),
        Row::new("hostile: eight helpers of one user", |ground| {
            let helpers: Vec<_> = (0..8).map(|_| Helper::start(ground)).collect();
            assert_nobody_is_captured(ground);
            drop(helpers);
        }),
    ]
}

fn assert_nobody_is_captured(ground: &Ground) {
    for who in [Who::other(), Who::root()] {
        for to in [POD4, POD6, MAPPED] {
            let said = Client::new(ground).who(&who).to(to).connects(CONNECTIONS);
            assert!(said.iter().all(|said| is_at_pod(said)), "{to}: {said:?}");
        }
    }
}

/// What made connection tracking give tuples away: see the `seed` process.
fn seed(ground: &Ground) {
    let mut command = ground.command(&Who::user().within(SESSION), &ground.plain());
    let seeded: usize = output(command.args(["seed", POD4])).trim().parse().expect("a number");
    assert!(seeded > 10_000, "{seeded}");
}

fn seeded_ports(ground: &Ground) {
    let helper = Helper::start(ground);
    seed(ground);
    assert_nobody_is_captured(ground);
    helper.stop();
    assert_nobody_is_captured(ground);
}

fn seeded_and_killed(ground: &Ground) {
    let mut helper = Helper::start(ground);
    seed(ground);
    helper.process.kill();
    assert_nobody_is_captured(ground);
}

fn setuid_programs(ground: &Ground) {
    let helper = Helper::start(ground);
    let options: [&[&str]; 3] = [&[], &["drop-euid"], &["drop-euid", "dumpable=1"]];
    for options in options {
        for program in [ground.setuid(), ground.setgid()] {
            let client = Client::new(ground).program(program).options(options);
            let said = client.connects(CONNECTIONS);
            assert!(said.iter().all(|said| is_at_pod(said)), "{options:?}: {said:?}");
        }
    }
    for _ in 0..CONNECTIONS {
        let who = Who::user().first("socket=4300");
        let client = Client::new(ground).who(&who).program(ground.setuid());
        let said = client.options(&["inherited"]).connect();
        assert!(is_at_pod(&said), "{said}");
    }
    helper.stop();
}

fn handed_sockets(ground: &Ground) {
    let helper = Helper::start(ground);
    for victim in [Who::other(), Who::root()] {
        for _ in 0..CONNECTIONS {
            let socket = socket_of(ground, &Who::user().within(SESSION));
            let mut probe = Client::new(ground).who(&victim).options(&["received"]).spawn();
            send(&probe, &socket);
            assert_eq!(probe.line(), "ready");
            let said = crate::client::connect(&mut probe);
            assert!(is_at_pod(&said), "{said}");
        }
    }
    helper.stop();
}

/// The kernel gives a connection to the listener that fits best, and the programs look for one
/// without knowing the device.
fn nobody_beside(ground: &Ground) {
    let addresses = ["127.0.0.1:7001", "0.0.0.0:7001", "[::ffff:127.0.0.1]:7001", "[::1]:7001"];
    let mut command = ground.command(&Who::other(), &ground.plain());
    assert_eq!(output(command.arg("beside").args(addresses).arg("[::]:7001")), "");
}

/// Here the user who has the helper is the victim.
fn port_taken(ground: &Ground) {
    const PORT: u16 = 7004;
    let addresses = ["127.0.0.1:7004", "[::1]:7004"];
    let mut helper = Helper::ready(ground, &Who::user().within(SESSION));
    let (mut mine, _) = ground.server(&Who::user(), "LISTENER", &addresses);
    helper.apply(&[(POD4, PORT), (POD6, PORT)]).expect("a listener");
    assert!(is_led(&user_to(ground, POD4)));
    mine.kill();
    let (_thief, _) = ground.server(&Who::other(), "THIEF", &addresses);
    for to in [POD4, POD6, MAPPED] {
        let said = Client::new(ground).to(to).connects(CONNECTIONS);
        assert!(said.iter().all(|said| said == "error ECONNREFUSED"), "{to}: {said:?}");
    }
    helper.stop();
}

/// Each user's connections arrive at that user's listener.
fn two_helpers(ground: &Ground) {
    const PORT: u16 = 7005;
    let attacker = Helper::start(ground);
    let (_theirs, _) = ground.server(&Who::other(), "THEIRS", &["127.0.0.1:7005", "[::1]:7005"]);
    let session = Who::other().within(OTHER_SESSION);
    let mut victim = Helper::ready(ground, &session);
    // The attacker's listener is no listener of the victim's.
    victim.apply(&[(POD4, VIA)]).unwrap_err();
    victim.apply(&[(POD4, PORT), (POD6, PORT)]).expect("a listener");
    for to in [POD4, POD6, MAPPED] {
        let said = Client::new(ground).exactly(&session).to(to).connects(CONNECTIONS);
        assert!(said.iter().all(|said| said.starts_with("THEIRS saw")), "{to}: {said:?}");
        assert!(is_led(&user_to(ground, to)));
    }
    victim.stop();
    attacker.stop();
}
