//! Any bytes from a node in a pod, split at any position: no panic, the split changes nothing, and what passes is what an
//! independent reader allows.
#![no_main]

use std::sync::Arc;

use k8s_connect_core::endpoint::guard::{Arguments, Connection, Entry, Kind, Limits, Session};
use libfuzzer_sys::fuzz_target;

/// Operations that answer something, or that the guard has judged by their receiver.
const ALLOWED: [u8; 18] = [2, 3, 12, 13, 19, 20, 21, 22, 23, 24, 25, 28, 31, 32, 33, 34, 35, 36];

type Outcome = (Vec<u8>, [u64; Kind::ALL.len()], bool);

/// A connection whose handshake is over, and to whose pod this process, alias and group leader were given out.
fn connection() -> (Arc<Session>, Connection) {
    let session = Session::new(Limits { atoms: 1000, message: 1 << 20 });
    let session = Arc::new(session.audited(Arguments::Shown));
    let mut connection = Connection::new(session.clone(), false, Some("Elixir.Printer"));
    let mut output = Vec::new();
    let to_pod = b"\0\x12N\0\0\0\x0f\x07\xdf\xff\xff\0\0\0\x07\0\x03l@h\0\x15r\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let from_pod = b"\0\x03sok\0\x16N\0\0\0\x0f\x07\xdf\xff\xff\0\0\0\0\0\0\0\x01\0\x03p@h\0\x11a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    connection.to_pod.pass(to_pod[..].into(), &mut output).expect("a handshake");
    connection.from_pod.pass(from_pod[..].into(), &mut output).expect("a handshake");
    let reference = b"Z\0\x03w\x03l@h\0\0\0\x07\0\0\0\x01\0\0\0\x02\0\0\0\x03";
    let pid = |id| [b"Xw\x03l@h\0\0\0", &[id][..], b"\0\0\0\0\0\0\0\x07"].concat();
    let call = [
        &b"p\x83h\x06a\x1d"[..],
        reference,
        &pid(1),
        &pid(2),
        b"h\x03w\x01mw\x01fa\0l\0\0\0\x01w\x07monitorj\x83j",
    ]
    .concat();
    let length = (call.len() as u32).to_be_bytes();
    connection.to_pod.pass([&length, &call[..]].concat().into(), &mut output).expect("a call");
    (session, connection)
}

fn pass(pieces: &[&[u8]]) -> Outcome {
    let (session, mut connection) = connection();
    let mut output = Vec::new();
    let passed = pieces
        .iter()
        .all(|piece| connection.from_pod.pass(piece.to_vec().into(), &mut output).is_ok());
    (output.concat(), Kind::ALL.map(|kind| session.count(kind)), passed)
}

/// Each packet that passed has an allowed operation, and no order in its payload.
fn check(mut output: &[u8]) {
    while output.len() >= 4 {
        let length = u32::from_be_bytes([output[0], output[1], output[2], output[3]]) as usize;
        output = &output[4..];
        if length == 0 {
            continue;
        }
        // The last message of a connection that was closed may be cut.
        let message = &output[..length.min(output.len())];
        output = &output[message.len()..];
        let operation = match message {
            [112, 131, 104, _, 97, operation, ..] => *operation,
            [112, 131, 105, _, _, _, _, 97, operation, ..] => *operation,
            _ => panic!("the form of {message:?}"),
        };
        assert!(ALLOWED.contains(&operation), "{message:?}");
        // The reason of an exit may be any term.
        if ![2, 12, 22, 23, 33, 34].contains(&operation) {
            continue;
        }
        for order in
            [&b"\x83h\x03w\x09$gen_call"[..], b"\x83h\x03w\x06system", b"\x83h\x02w\x09$gen_cast"]
        {
            assert!(
                !message.windows(order.len()).any(|part| part == order) || is_data(message, order)
            );
        }
    }
}

/// The order may be text in a binary or a string.
fn is_data(message: &[u8], order: &[u8]) -> bool {
    let at = message.windows(order.len()).position(|part| part == order).unwrap_or(0);
    message[..at]
        .iter()
        .any(|byte| matches!(byte, 107 | 109 | 77 | 110 | 111 | 119 | 118 | 115 | 100))
}

/// The local node is no attacker, but it repeats what the pod has sent: the audit log has a line for anything.
fn log(bytes: &[u8]) {
    let (_session, mut connection) = connection();
    let _ = connection.to_pod.pass(bytes.to_vec().into(), &mut Vec::new());
    for entry in connection.to_pod.entries() {
        if let Entry::Request { arguments: Some(text), .. } = entry {
            assert!(text.len() <= 1010 && !text.contains('\n'));
        }
    }
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let whole = pass(&[bytes]);
    check(&whole.0);
    log(bytes);
    let split = pass(&[first, second]);
    assert_eq!(whole.2, split.2);
    // Before an error, a piece of a message may have passed.
    if whole.2 {
        assert_eq!(whole, split);
    }
});
