//! The end of the listener: only the original socket counts, while it listens and belongs to the
//! user.

use crate::{
    bpf,
    cases::Case,
    client::{connect_as_user, is_redirected, reached_pod},
    environment::{Environment, MAPPED, POD4, POD6, RunAs, SESSION, VIA},
    helper::{Helper, word},
    process::Process,
    sniffer::Sniffer,
};

const PORT: u16 = 7002;
const HERE4: &str = "127.0.0.1:7002";
const HERE6: &str = "[::1]:7002";
const ANY4: &str = "0.0.0.0:7002";
const ANY6: &str = "[::]:7002";
const GONE: &str = "error ECONNREFUSED";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("listener: closed", closed),
        Case::new("listener: another user listens", another_listens),
        Case::new("listener: an IPv6 target needs a listener on ::1", wrong_family),
        Case::new("listener: it died", |environment| replaced(environment, &RunAs::user(), &[])),
        Case::new("listener: another user took its port", |environment| {
            replaced(environment, &RunAs::other(), &[HERE4, HERE6]);
        }),
        Case::new("listener: another user took its port on all IPv4 addresses", |environment| {
            replaced(environment, &RunAs::other(), &[ANY4, HERE6]);
        }),
        Case::new("listener: another user took its port on all addresses", |environment| {
            replaced(environment, &RunAs::other(), &[ANY6]);
        }),
        Case::new("listener: root took its port", |environment| {
            replaced(environment, &RunAs::root(), &[HERE4, HERE6]);
        }),
        Case::new("listener: another socket of the user on the same port", |environment| {
            replaced(environment, &RunAs::user(), &[HERE4, HERE6]);
        }),
        Case::new("listener: map written by hand, the user's own listener", |environment| {
            written_by_hand(environment, &RunAs::user(), is_led_to_hand);
        }),
        Case::new("listener: map written by hand, a port below 1024", low_port_by_hand),
        Case::new("listener: map written by hand, root's listener", |environment| {
            written_by_hand(environment, &RunAs::root(), assert_refused);
        }),
        Case::new("listener: map written by hand, another user's listener", |environment| {
            written_by_hand(environment, &RunAs::other(), assert_refused);
        }),
        Case::new("listener: one that connects to its own target reaches itself", its_own_target),
    ]
}

fn user_helper(environment: &Environment) -> Helper {
    Helper::ready(environment, &RunAs::user().within(SESSION))
}

fn closed(environment: &Environment) {
    let mut helper = user_helper(environment);
    let refused = helper.apply(&[(POD4, PORT)]).unwrap_err();
    let (word, fields) = word(&refused);
    assert_eq!((word.as_str(), &fields["via"]), ("no_listener", &PORT.into()));
    // The refused request changed nothing, and the helper still works.
    assert!(reached_pod(&connect_as_user(environment, POD4)));
    helper.apply(&[(POD4, VIA)]).expect("a listener");
    assert!(is_redirected(&connect_as_user(environment, POD4)));
    helper.stop();
}

fn another_listens(environment: &Environment) {
    let mut helper = user_helper(environment);
    for (run_as, uid) in [(RunAs::other(), 4301), (RunAs::root(), 0)] {
        for address in [HERE4, ANY4] {
            let (_server, _) = environment.server(&run_as, "THIEF", &[address]);
            let refused = helper.apply(&[(POD4, PORT)]).unwrap_err();
            let (word, fields) = word(&refused);
            // A listener on all addresses is not the listener on 127.0.0.1.
            assert!(["foreign_listener", "no_listener"].contains(&word.as_str()), "{refused}");
            assert!(word == "no_listener" || fields["uid"] == uid, "{refused}");
            assert!(reached_pod(&connect_as_user(environment, POD4)));
        }
    }
    helper.stop();
}

fn wrong_family(environment: &Environment) {
    let (_server, _) = environment.server(&RunAs::user(), "MINE", &[HERE4]);
    let mut helper = user_helper(environment);
    helper.apply(&[(POD4, PORT)]).expect("it listens on 127.0.0.1");
    let refused = helper.apply(&[(POD6, PORT)]).unwrap_err();
    assert_eq!(word(&refused).0, "no_listener");
    helper.stop();
}

/// The user's listener closes, and another program, or none, listens on its port afterwards.
fn replaced(environment: &Environment, successor: &RunAs, addresses: &[&str]) {
    let (mut server, _) = environment.server(&RunAs::user(), "LISTENER", &[HERE4, HERE6]);
    let mut helper = user_helper(environment);
    helper.apply(&[(POD4, PORT), (POD6, PORT)]).expect("a listener");
    let all = [POD4, POD6, MAPPED];
    for to in all {
        let result = connect_as_user(environment, to);
        assert!(is_redirected(&result), "{to}: {result}");
    }
    server.kill();
    let _successor = environment.server(successor, "THIEF", addresses);
    let sniffer = Sniffer::new();
    for to in all {
        assert_eq!(connect_as_user(environment, to), GONE, "{to}");
    }
    assert_eq!(sniffer.count(), 0);
    // The connection of another user is neither redirected nor refused.
    assert!(reached_pod(&crate::client::connect_as_other(environment, POD4)));
    helper.stop();
}

fn is_led_to_hand(result: &str) {
    assert!(result.starts_with("HAND saw "), "{result}");
}

fn assert_refused(result: &str) {
    assert_eq!(result, GONE);
}

/// A compromised helper could write another listener with its real cookie to the map.
fn written_by_hand(environment: &Environment, owner: &RunAs, check: fn(&str)) {
    let (_mine, mine) = environment.server(&RunAs::user(), "LISTENER", &[HERE4]);
    let (_hand, hand) = environment.server(owner, "HAND", &["127.0.0.1:7203"]);
    let mut helper = user_helper(environment);
    helper.apply(&[(POD4, PORT)]).expect("a listener");
    let map = bpf::newest_map("kc_targets").expect("the helper's map");
    let mut entries = map.entries();
    // There may be another entry, of the helper's self-test.
    entries.retain(|(_, value)| find(value, &mine[0].to_ne_bytes()).is_some());
    let [(key, value)] = entries.as_slice() else { panic!("{} entries", entries.len()) };
    let value = put(value, &mine[0].to_ne_bytes(), &hand[0].to_ne_bytes());
    let value = put_port(&value, PORT, 7203);
    map.write(key, &value);
    check(&connect_as_user(environment, POD4));
    helper.stop();
}

/// The kernel itself connects to low ports in a user's process, for example for a mount. The same
/// entry with a high port is redirected.
fn low_port_by_hand(environment: &Environment) {
    let helper = Helper::start(environment);
    let map = bpf::newest_map("kc_targets").expect("the helper's map");
    let pod = &[10, 9, 0, 2];
    let entries = map.entries();
    let entry = entries.iter().find(|(key, _)| find(key, pod).is_some());
    let (key, value) = entry.expect("an entry in the map");
    for (port, redirected) in [(1024, true), (1023, false), (445, false)] {
        map.write(&put_port(key, 6443, port), value);
        let result = connect_as_user(environment, &format!("10.9.0.2:{port}"));
        assert_eq!(is_redirected(&result), redirected, "{port}: {result}");
    }
    helper.stop();
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn put(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = find(bytes, old).expect("it is in there");
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

/// In network or host byte order, whichever the helper uses.
fn put_port(bytes: &[u8], old: u16, new: u16) -> Vec<u8> {
    match find(bytes, &old.to_be_bytes()) {
        Some(_) => put(bytes, &old.to_be_bytes(), &new.to_be_bytes()),
        None => put(bytes, &old.to_le_bytes(), &new.to_le_bytes()),
    }
}

fn its_own_target(environment: &Environment) {
    let mut command = environment.command(&RunAs::user().within(SESSION), &environment.plain());
    let mut looping = Process::start(command.args(["loop", HERE4, POD4, "20"]));
    assert_eq!(looping.line(), "up");
    let mut helper = user_helper(environment);
    helper.apply(&[(POD4, PORT)]).expect("a listener");
    looping.send(b"\n");
    assert_eq!(looping.line(), "20");
    helper.stop();
}
