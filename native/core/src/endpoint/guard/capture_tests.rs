//! Recorded connections of each OTP, with changes to what the pod sends. What passes is written to a file for
//! `test/terms/passed.exs`, where OTP decodes it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::{
    fs::File,
    io::{BufWriter, Write},
};

use super::{
    control::Control,
    encode::*,
    mutation_tests::{Random, mutate},
    packets::LENGTH,
    tests::Pair,
    *,
};

/// `test/terms/record.exs` makes them.
const CAPTURES: [&[u8]; 3] = [
    include_bytes!("../../../tests/captures/25"),
    include_bytes!("../../../tests/captures/27"),
    include_bytes!("../../../tests/captures/29"),
];
const MESSAGES: u64 = 20_000;
/// Changed copies of each message.
const COPIES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToPod = 1,
    FromPod = 2,
}

/// The messages of a recording, each with its length.
fn records(mut capture: &[u8]) -> Vec<(Direction, &[u8])> {
    let mut records = Vec::new();
    while let [direction, rest @ ..] = capture {
        let (length, rest) = rest.split_first_chunk::<4>().unwrap();
        let (bytes, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        let direction = if *direction == 1 { Direction::ToPod } else { Direction::FromPod };
        records.push((direction, bytes));
        capture = rest;
    }
    records
}

fn connection(printer: Option<&'static str>) -> Connection {
    let limits = Limits { atoms: usize::MAX, message: 1 << 20 };
    Connection::new(Arc::new(Session::new(limits)), false, printer)
}

/// What passes of a packet from the pod; nothing if it ends the connection.
fn from_pod(connection: &mut Connection, packet: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let passed = connection.from_pod.pass(Bytes::copy_from_slice(packet), &mut output);
    if passed.is_ok() { output.concat() } else { vec![] }
}

fn to_pod(connection: &mut Connection, packet: &[u8]) {
    connection.to_pod.pass(Bytes::copy_from_slice(packet), &mut Vec::new()).unwrap();
}

/// The control term of one message with the payload of another.
fn spliced(control: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let with_payload = |packet| Control::read(packet, true).ok()?.payload;
    let (control, payload) = (control.get(LENGTH..)?, with_payload(payload.get(LENGTH..)?)?);
    let before = control.len() - with_payload(control)?.len();
    Some(packets::packet(&[&control[..before], payload]).to_vec())
}

fn changed(packet: &[u8], others: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut other = || others[random.next(others.len())];
    let (first, second) = (other(), other());
    let mut changed = match random.next(4) {
        0 => spliced(packet, first),
        1 => spliced(first, packet),
        2 => spliced(first, second),
        _ => None,
    }
    .unwrap_or_else(|| packet.to_vec());
    if changed.len() > LENGTH && random.next(3) > 0 {
        mutate(&mut changed, random);
    }
    // Each packet is whole, so that the next one begins where it ends.
    let length = u32::try_from(changed.len() - LENGTH).unwrap();
    changed[..LENGTH].copy_from_slice(&length.to_be_bytes());
    changed
}

#[test]
fn recorded_use_passes_and_recorded_attacks_do_not() {
    for capture in CAPTURES {
        let session = Arc::new(Session::new(Limits { atoms: 100_000, message: 1 << 20 }));
        let mut connection = Connection::new(session.clone(), false, None);
        for (direction, bytes) in records(capture) {
            match direction {
                Direction::ToPod => to_pod(&mut connection, bytes),
                Direction::FromPod => {
                    let mut output = Vec::new();
                    connection.from_pod.pass(Bytes::copy_from_slice(bytes), &mut output).unwrap();
                }
            }
        }
        assert_eq!(session.failure(), None);
        for kind in Kind::ALL {
            assert!(
                session.count(kind) > 0 || matches!(kind, Kind::Other | Kind::ReadOnly),
                "{kind:?}"
            );
        }
    }
}

/// What OTP's and Elixir's processes handle, as a message to a process that was given out: what gave it out, and what
/// passes. `test/terms/handled.exs` writes each with its length (32).
fn handled() -> Vec<(Vec<u8>, Vec<u8>)> {
    let file = std::env::var("K8S_CONNECT_HANDLED").expect("K8S_CONNECT_HANDLED names a file");
    let (bytes, mut at, mut handled) = (std::fs::read(file).unwrap(), 0, Vec::new());
    while let Some((length, rest)) = bytes[at..].split_first_chunk::<4>() {
        let payload = &rest[..u32::from_be_bytes(*length) as usize];
        at += length.len() + payload.len();
        let mut pair = Pair::new();
        let given = pair.call(1, 2);
        let message = packed(&[integer(22), pid(POD, 9), pid(LAPTOP, 1)], Some(payload));
        handled.push((given, pair.incoming(&message).unwrap()));
    }
    handled
}

/// Each record is a kind (1: 0 a new connection, 1 to the pod, 2 passed), and bytes (32 + n).
#[test]
#[ignore = "writes a file for test/terms/passed.exs"]
fn what_passes_is_written() {
    let file = std::env::var("K8S_CONNECT_PASSED").expect("K8S_CONNECT_PASSED names a file");
    let messages = std::env::var("K8S_CONNECT_MUTATIONS").ok().and_then(|count| count.parse().ok());
    let mut file = BufWriter::new(File::create(file).unwrap());
    let mut write = |kind: u8, bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        file.write_all(&[&[kind], &length[..], bytes].concat()).unwrap();
    };
    for (given, output) in handled() {
        write(0, &[]);
        write(1, &given[LENGTH..]);
        if !output.is_empty() {
            write(2, &output[LENGTH..]);
        }
    }
    let (mut random, mut sent, mut passed, mut round) = (Random::new(1), 0_u64, 0_u64, 0);
    while sent < messages.unwrap_or(MESSAGES) {
        let records = records(CAPTURES[round % CAPTURES.len()]);
        let others: Vec<_> = records
            .iter()
            .filter(|(direction, bytes)| {
                *direction == Direction::FromPod && bytes.get(4) == Some(&112)
            })
            .map(|(_direction, bytes)| *bytes)
            .collect();
        let printer = (round / CAPTURES.len() % 2 == 1).then_some("Elixir.Printer");
        let (mut connection, mut asked) = (connection(printer), Vec::new());
        write(0, &[]);
        for (direction, bytes) in records {
            let is_packet = bytes.get(LENGTH) == Some(&112);
            if direction == Direction::ToPod {
                to_pod(&mut connection, bytes);
                // A monitor or a request for a process, which has one answer
                if let Some([112, 131, 104, _, 97, 19 | 29, ..]) = bytes.get(LENGTH..) {
                    asked.push(bytes);
                }
                if is_packet {
                    write(1, &bytes[LENGTH..]);
                }
                continue;
            }
            for _ in 0..if is_packet { COPIES } else { 0 } {
                for request in &asked {
                    to_pod(&mut connection, request);
                }
                let output = from_pod(&mut connection, &changed(bytes, &others, &mut random));
                sent += 1;
                if output.len() > LENGTH {
                    write(2, &output[LENGTH..]);
                    passed += 1;
                }
            }
            from_pod(&mut connection, bytes);
        }
        round += 1;
    }
    println!("{sent} changed messages, {passed} passed");
}
