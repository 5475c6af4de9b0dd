//! What the guard costs: CPU time for each MB of a large binary and for each small call, next to no filter at all.
//!
//!     cargo bench -p k8s_connect_core --bench guard

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use k8s_connect_core::endpoint::guard::{Connection, Limits, Session};

/// What a read from the API server's connection brings.
const CHUNK: usize = 32 * 1024;
const LAPTOP: &[u8] = b"laptop@127.0.0.1";
const POD: &[u8] = b"app@10.244.1.2";
/// Each figure is the best of so many rounds.
const ROUNDS: usize = 20;
const CALLS: usize = 10_000;
const MEGABYTES: usize = 64;

fn main() {
    let large = large();
    let none = best(|| large.iter().map(|chunk| write(&chunk.clone())).sum::<usize>());
    let guarded = best(|| {
        let mut connection = connection();
        let (mut output, mut copied) = (Vec::new(), 0);
        for chunk in &large {
            let passed = connection.from_pod.pass(chunk.clone(), &mut output);
            assert!(passed.is_ok(), "the message is refused");
            copied += output.drain(..).map(|bytes| write(&bytes)).sum::<usize>();
        }
        assert_eq!(copied, large.iter().map(Bytes::len).sum::<usize>(), "all of it passes");
        copied
    });
    let megabytes = f64::from(u32::try_from(MEGABYTES).unwrap_or(1));
    let per_mb = |time: Duration| time.as_secs_f64() * 1e6 / megabytes;
    println!("a copy of each byte, for comparison   {:8.2} us/MB", per_mb(none));
    println!("the same with the guard               {:8.2} us/MB", per_mb(guarded));

    let (call, reply) = (call(), reply());
    let guarded = best(|| {
        let mut connection = connection();
        let (mut output, mut passed) = (Vec::new(), 0);
        for _ in 0..CALLS {
            let sent = connection.to_pod.pass(call.clone(), &mut output);
            let answered = connection.from_pod.pass(reply.clone(), &mut output);
            assert!(sent.is_ok() && answered.is_ok(), "the call is refused");
            passed += output.drain(..).map(|bytes| bytes.len()).sum::<usize>();
        }
        assert_eq!(passed, CALLS * (call.len() + reply.len()));
        passed
    });
    let calls = f64::from(u32::try_from(CALLS).unwrap_or(1));
    println!(
        "a small call and its answer           {:8.2} us",
        guarded.as_secs_f64() * 1e6 / calls
    );
}

fn best(mut round: impl FnMut() -> usize) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        black_box(round());
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

/// As a socket does it: each byte is copied once.
fn write(bytes: &Bytes) -> usize {
    black_box(bytes.to_vec()).len()
}

/// A connection whose handshake is over, and where one process was given out.
fn connection() -> Connection {
    let limits = Limits { atoms: 100_000, message: 1 << 30 };
    let mut connection = Connection::new(Arc::new(Session::new(limits)), false, None);
    let mut output = Vec::new();
    let name = |flags: &[u8], before: &[u8], name: &[u8]| {
        framed16(&[b"N", flags, before, &[0, u8::try_from(name.len()).unwrap_or(0)], name].concat())
    };
    let to_pod = [name(&[0xff; 8], &[0; 4], LAPTOP), framed16(&[&b"r"[..], &[0; 20]].concat())];
    let from_pod = [
        framed16(b"sok"),
        name(&[0xff; 8], &[0; 8], POD),
        framed16(&[&b"a"[..], &[0; 16]].concat()),
    ];
    assert!(connection.to_pod.pass(to_pod.concat().into(), &mut output).is_ok());
    assert!(connection.from_pod.pass(from_pod.concat().into(), &mut output).is_ok());
    assert!(connection.to_pod.pass(named().into(), &mut output).is_ok());
    connection
}

fn framed16(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap_or(0).to_be_bytes(), message].concat()
}

fn framed32(message: &[u8]) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap_or(0).to_be_bytes(), message].concat()
}

fn atom(text: &[u8]) -> Vec<u8> {
    [&[119, u8::try_from(text.len()).unwrap_or(0)], text].concat()
}

fn pid(node: &[u8], id: u8) -> Vec<u8> {
    [&b"X"[..], &atom(node), &[0, 0, 0, id], &[0; 4], &[0, 0, 0, 7]].concat()
}

fn reference(node: &[u8]) -> Vec<u8> {
    [&b"Z\0\x03"[..], &atom(node), &[0, 0, 0, 7], &[1; 12]].concat()
}

/// A message with the pid of its sender, which is given out by it.
fn named() -> Vec<u8> {
    let control = [b"p\x83h\x03a\x16".to_vec(), pid(LAPTOP, 1), pid(POD, 9)].concat();
    framed32(&[&control[..], b"\x83", &pid(LAPTOP, 1)].concat())
}

/// `erpc:call(Pod, erlang, node, [])`
fn call() -> Bytes {
    let mfa = [b"h\x03".to_vec(), atom(b"erpc"), atom(b"execute_call"), b"a\x04".to_vec()].concat();
    let options = [b"l\0\0\0\x01".to_vec(), atom(b"monitor"), b"j".to_vec()].concat();
    let control = [
        b"p\x83h\x06a\x1d".to_vec(),
        reference(LAPTOP),
        pid(LAPTOP, 1),
        // The group leader
        pid(LAPTOP, 2),
        mfa,
        options,
    ];
    let arguments = [
        b"\x83l\0\0\0\x04".to_vec(),
        reference(LAPTOP),
        atom(b"erlang"),
        atom(b"node"),
        b"jj".to_vec(),
    ];
    framed32(&[control.concat(), arguments.concat()].concat()).into()
}

/// `{Ref, return, Pod}`
fn reply() -> Bytes {
    let control = [b"p\x83h\x04a\x1c".to_vec(), pid(POD, 9), pid(LAPTOP, 1), reference(LAPTOP)];
    let payload = [b"\x83h\x03".to_vec(), reference(LAPTOP), atom(b"return"), atom(POD)];
    framed32(&[control.concat(), payload.concat()].concat()).into()
}

/// A message with a large binary, in pieces as they arrive.
fn large() -> Vec<Bytes> {
    let size = MEGABYTES * 1_000_000;
    let control = [b"p\x83h\x03a\x16".to_vec(), pid(POD, 9), pid(LAPTOP, 1)].concat();
    let length = u32::try_from(size).unwrap_or(0).to_be_bytes();
    let message = [&control[..], b"\x83m", &length, &vec![7; size]].concat();
    let packet = Bytes::from(framed32(&message));
    (0..packet.len())
        .step_by(CHUNK)
        .map(|at| packet.slice(at..packet.len().min(at + CHUNK)))
        .collect()
}
