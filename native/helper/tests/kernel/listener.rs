//! The listener's end: only the very socket that the helper found, alive, and of the user.

use crate::{
    bpf,
    client::{is_at_pod, is_led, user_to},
    ground::{Ground, MAPPED, POD4, POD6, SESSION, VIA, Who},
    helper::{Helper, word},
    process::Process,
    rows::Row,
    sniffer::Sniffer,
};

const PORT: u16 = 7002;
const HERE4: &str = "127.0.0.1:7002";
const HERE6: &str = "[::1]:7002";
const ANY4: &str = "0.0.0.0:7002";
const ANY6: &str = "[::]:7002";
const GONE: &str = "error ECONNREFUSED";

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("listener: nobody listens", nobody_listens),
        Row::new("listener: another user listens", another_listens),
        Row::new("listener: an IPv6 target needs a listener on ::1", wrong_family),
        Row::new("listener: it died", |ground| replaced(ground, &Who::user(), &[])),
        Row::new("listener: another user took its port", |ground| {
            replaced(ground, &Who::other(), &[HERE4, HERE6]);
        }),
        Row::new("listener: another user took its port on all IPv4 addresses", |ground| {
            replaced(ground, &Who::other(), &[ANY4, HERE6]);
        }),
        Row::new("listener: another user took its port on all addresses", |ground| {
            replaced(ground, &Who::other(), &[ANY6]);
        }),
        Row::new("listener: root took its port", |ground| {
            replaced(ground, &Who::root(), &[HERE4, HERE6]);
        }),
        Row::new("listener: another socket of the user's took its port", |ground| {
            replaced(ground, &Who::user(), &[HERE4, HERE6]);
        }),
        Row::new("listener: map written by hand, the user's own listener", |ground| {
            written_by_hand(ground, &Who::user(), is_led_to_hand);
        }),
        Row::new("listener: map written by hand, a port below 1024", low_port_by_hand),
        Row::new("listener: map written by hand, root's listener", |ground| {
            written_by_hand(ground, &Who::root(), is_refused);
        }),
        Row::new("listener: map written by hand, another user's listener", |ground| {
            written_by_hand(ground, &Who::other(), is_refused);
        }),
        Row::new("listener: one that connects to its own target reaches itself", its_own_target),
    ]
}

fn user_helper(ground: &Ground) -> Helper {
    Helper::ready(ground, &Who::user().within(SESSION))
}

fn nobody_listens(ground: &Ground) {
    let mut helper = user_helper(ground);
    let refused = helper.apply(&[(POD4, PORT)]).unwrap_err();
    let (word, fields) = word(&refused);
    assert_eq!((word.as_str(), &fields["via"]), ("no_listener", &PORT.into()));
    // Nothing was done, and the helper goes on.
    assert!(is_at_pod(&user_to(ground, POD4)));
    helper.apply(&[(POD4, VIA)]).expect("a listener");
    assert!(is_led(&user_to(ground, POD4)));
    helper.stop();
}

fn another_listens(ground: &Ground) {
    let mut helper = user_helper(ground);
    for (who, uid) in [(Who::other(), 4301), (Who::root(), 0)] {
        for address in [HERE4, ANY4] {
            let (_server, _) = ground.server(&who, "THIEF", &[address]);
            let refused = helper.apply(&[(POD4, PORT)]).unwrap_err();
            let (word, fields) = word(&refused);
            // A listener on all addresses is not the one on 127.0.0.1.
            assert!(["foreign_listener", "no_listener"].contains(&word.as_str()), "{refused}");
            assert!(word == "no_listener" || fields["uid"] == uid, "{refused}");
            assert!(is_at_pod(&user_to(ground, POD4)));
        }
    }
    helper.stop();
}

fn wrong_family(ground: &Ground) {
    let (_server, _) = ground.server(&Who::user(), "MINE", &[HERE4]);
    let mut helper = user_helper(ground);
    helper.apply(&[(POD4, PORT)]).expect("it listens on 127.0.0.1");
    let refused = helper.apply(&[(POD6, PORT)]).unwrap_err();
    assert_eq!(word(&refused).0, "no_listener");
    helper.stop();
}

/// The user's listener ends; somebody, or nobody, listens on its port afterwards.
fn replaced(ground: &Ground, successor: &Who, addresses: &[&str]) {
    let (mut server, _) = ground.server(&Who::user(), "LISTENER", &[HERE4, HERE6]);
    let mut helper = user_helper(ground);
    helper.apply(&[(POD4, PORT), (POD6, PORT)]).expect("a listener");
    let all = [POD4, POD6, MAPPED];
    for to in all {
        let said = user_to(ground, to);
        assert!(is_led(&said), "{to}: {said}");
    }
    server.kill();
    let _successor = ground.server(successor, "THIEF", addresses);
    let sniffer = Sniffer::new();
    for to in all {
        assert_eq!(user_to(ground, to), GONE, "{to}");
    }
    assert_eq!(sniffer.count(), 0);
    // Who is not redirected is not refused either.
    assert!(is_at_pod(&crate::client::other_to(ground, POD4)));
    helper.stop();
}

fn is_led_to_hand(said: &str) {
    assert!(said.starts_with("HAND saw "), "{said}");
}

fn is_refused(said: &str) {
    assert_eq!(said, GONE);
}

/// What a taken-over helper could do: write another listener into the map, with its true cookie.
fn written_by_hand(ground: &Ground, owner: &Who, check: fn(&str)) {
    let (_mine, mine) = ground.server(&Who::user(), "LISTENER", &[HERE4]);
    let (_hand, hand) = ground.server(owner, "HAND", &["127.0.0.1:7203"]);
    let mut helper = user_helper(ground);
    helper.apply(&[(POD4, PORT)]).expect("a listener");
    let map = bpf::newest_map("kc_targets").expect("the helper's map");
    let mut entries = map.entries();
    // Another entry may be there for the helper's own test of itself.
    entries.retain(|(_, value)| find(value, &mine[0].to_ne_bytes()).is_some());
    let [(key, value)] = entries.as_slice() else { panic!("{} entries", entries.len()) };
    let value = put(value, &mine[0].to_ne_bytes(), &hand[0].to_ne_bytes());
    let value = put_port(&value, PORT, 7203);
    map.write(key, &value);
    check(&user_to(ground, POD4));
    helper.stop();
}

/// The kernel itself connects to such ports in its user's process, for a mount. With a port that a
/// program may have, the same entry redirects.
fn low_port_by_hand(ground: &Ground) {
    let helper = Helper::start(ground);
    let map = bpf::newest_map("kc_targets").expect("the helper's map");
    let pod = &[10, 9, 0, 2];
    let entries = map.entries();
    let entry = entries.iter().find(|(key, _)| find(key, pod).is_some());
    let (key, value) = entry.expect("the helper was told of it");
    for (port, led) in [(1024, true), (1023, false), (445, false)] {
        map.write(&put_port(key, 6443, port), value);
        let said = user_to(ground, &format!("10.9.0.2:{port}"));
        assert_eq!(is_led(&said), led, "{port}: {said}");
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

/// In network order or not, as the helper's programs like it.
fn put_port(bytes: &[u8], old: u16, new: u16) -> Vec<u8> {
    match find(bytes, &old.to_be_bytes()) {
        Some(_) => put(bytes, &old.to_be_bytes(), &new.to_be_bytes()),
        None => put(bytes, &old.to_le_bytes(), &new.to_le_bytes()),
    }
}

fn its_own_target(ground: &Ground) {
    let mut command = ground.command(&Who::user().within(SESSION), &ground.plain());
    let mut looping = Process::start(command.args(["loop", HERE4, POD4, "20"]));
    assert_eq!(looping.line(), "up");
    let mut helper = user_helper(ground);
    helper.apply(&[(POD4, PORT)]).expect("a listener");
    looping.send(b"\n");
    assert_eq!(looping.line(), "20");
    helper.stop();
}
