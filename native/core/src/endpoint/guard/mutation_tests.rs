//! Messages of all kinds, with random changes. The fuzz target `guard` searches deeper; this runs everywhere, and for as
//! long as `K8S_CONNECT_MUTATIONS` says.

#![allow(clippy::panic, clippy::unwrap_used)]

use super::{Arguments, Entry, Limits, Session, audit::MAX_ARGUMENTS, encode::*, tests::Pair};

/// What may pass, whatever the message is.
const ALLOWED: [u8; 18] = [2, 3, 12, 13, 19, 20, 21, 22, 23, 24, 25, 28, 31, 32, 33, 34, 35, 36];
const RUNS: u64 = 20_000;

/// The generator of <https://prng.di.unimi.it/splitmix64.c>.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap_or_default() % below
    }
}

fn messages() -> Vec<Vec<u8>> {
    let (from, to, leader) = (pid(POD, 9), pid(LAPTOP, 1), pid(LAPTOP, 2));
    let (ours, theirs) = (reference(LAPTOP, 1), reference(POD, 3));
    let send = |to: &[u8], payload: &[u8]| {
        packed(&[integer(22), from.clone(), to.to_vec()], Some(payload))
    };
    let io = |request: &[u8]| {
        tuple(&[atom("io_request"), from.clone(), theirs.clone(), request.to_vec()])
    };
    let text = tuple(&[atom("put_chars"), atom("unicode"), binary(b"text")]);
    let format = [
        atom("put_chars"),
        atom("unicode"),
        atom("io_lib"),
        atom("format"),
        list(&[string("~p"), list(std::slice::from_ref(&to))]),
    ];
    let call = [atom("put_chars"), atom("unicode"), atom("os"), atom("cmd"), list(&[string("id")])];
    let order = |tag| tuple(&[atom(tag), tuple(&[from.clone(), theirs.clone()]), atom("x")]);
    vec![
        send(&to, &tuple(&[atom("hello"), binary(&[7; 40]), list(&[integer(1), string("abc")])])),
        send(&to, &order("$gen_call")),
        send(&to, &order("system")),
        send(&leader, &io(&text)),
        send(&leader, &io(&tuple(&format))),
        send(&leader, &io(&tuple(&call))),
        send(&leader, &io(&tuple(&[atom("requests"), list(&[text.clone(), tuple(&call)])]))),
        send(&list(&[to.clone(), to.clone()]), &atom("hello")),
        packed(
            &[integer(33), from.clone(), ours.clone()],
            Some(&tuple(&[ours.clone(), atom("ok")])),
        ),
        packed(
            &[integer(28), from.clone(), to.clone(), ours.clone()],
            Some(&tuple(&[ours.clone(), atom("return"), atom("x")])),
        ),
        packed(&[integer(21), from.clone(), to.clone(), ours.clone(), atom("noproc")], None),
        packed(&[integer(19), from.clone(), to.clone(), theirs.clone()], None),
        packed(&[integer(1), from.clone(), to.clone()], None),
        packed(&[integer(31), ours.clone(), to.clone(), integer(0), from.clone()], None),
        packed(
            &[integer(6), from.clone(), atom(""), atom("net_kernel")],
            Some(&order("$gen_call")),
        ),
        packed(
            &[
                integer(29),
                theirs,
                from.clone(),
                from,
                tuple(&[atom("os"), atom("cmd"), integer(1)]),
                b"j".to_vec(),
            ],
            Some(&list(&[string("id")])),
        ),
        vec![0; 4],
    ]
}

pub(super) fn mutate(message: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.next(3) {
        // The length is right as a rule, or else everything ends there.
        let from = if random.next(20) == 0 { 0 } else { 4.min(message.len() - 1) };
        let at = from + random.next(message.len() - from);
        match random.next(5) {
            0 => message[at] = u8::try_from(random.next(256)).unwrap(),
            1 => message[at] ^= 1 << random.next(8),
            2 => drop(message.remove(at)),
            3 => {
                message
                    .insert(at, [0, 97, 104, 105, 106, 107, 108, 109, 112, 119][random.next(10)]);
            }
            _ => message[at] = [1, 2, 22, 29, 33, 88, 90, 97, 104, 119][random.next(10)],
        }
        if from > 0 {
            let length = u32::try_from(message.len() - 4).unwrap();
            message[..4].copy_from_slice(&length.to_be_bytes());
        }
        if message.len() < 5 {
            return;
        }
    }
}

/// The operation and the control term's elements of each packet that passed.
fn check(mut output: &[u8]) {
    while let Some((length, rest)) = output.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let message = &rest[..length.min(rest.len())];
        output = &rest[message.len()..];
        let operation = match message {
            [] => continue,
            [112, 131, 104, _, 97, operation, ..]
            | [112, 131, 105, _, _, _, _, 97, operation, ..] => operation,
            other => panic!("{other:?}"),
        };
        assert!(ALLOWED.contains(operation), "{message:?}");
        // The reason of an exit may be any term.
        if ![2, 12, 22, 23, 33, 34].contains(operation) {
            continue;
        }
        for forbidden in [&b"h\x03w\x09$gen_call"[..], b"h\x03w\x06system", b"w\x02osw\x03cmd"] {
            let payload = [&[131], forbidden].concat();
            assert!(!message.windows(payload.len()).any(|part| part == payload), "{message:?}");
        }
    }
}

/// The local node repeats what the pod has sent: any term can be in the audit log.
fn log(input: &[u8]) {
    let session = Session::new(Limits { atoms: 1000, message: 1_000_000 });
    let mut pair = Pair::of(session.audited(Arguments::Shown));
    pair.outgoing(input);
    for entry in pair.entries() {
        if let Entry::Request { arguments: Some(text), .. } = entry {
            assert!(text.len() <= MAX_ARGUMENTS + 3 && !text.contains('\n'), "{text}");
        }
    }
}

#[test]
fn changed_messages_pass_only_as_what_is_allowed_however_they_are_cut() {
    let runs = std::env::var("K8S_CONNECT_MUTATIONS").ok().and_then(|runs| runs.parse().ok());
    let messages = messages();
    let (mut passed, mut ended) = (0_u64, 0_u64);
    for run in 0..runs.unwrap_or(RUNS) {
        let mut random = Random(run);
        let mut input = Vec::new();
        for _ in 0..=random.next(3) {
            let mut message = messages[random.next(messages.len())].clone();
            if random.next(3) > 0 && message.len() > 4 {
                mutate(&mut message, &mut random);
            }
            input.extend(message);
        }
        log(&input);
        let cut = random.next(input.len() + 1);
        let [whole, parts] = [vec![&input[..]], vec![&input[..cut], &input[cut..]]].map(|pieces| {
            let mut pair = Pair::new();
            pair.call(1, 2);
            let outputs: Result<Vec<_>, _> =
                pieces.iter().map(|piece| pair.incoming(piece)).collect();
            outputs.map(|outputs| (outputs.concat(), pair.answers()))
        });
        match (&whole, &parts) {
            (Ok(whole), Ok(parts)) => {
                assert_eq!(whole, parts, "run {run}, cut at {cut}");
                check(&whole.0);
                passed += u64::from(!whole.0.is_empty());
            }
            (Err(_), Err(_)) => ended += 1,
            _ => panic!("run {run}: only one of {whole:?} and {parts:?} has ended"),
        }
    }
    println!("{passed} runs with messages that pass, {ended} that end the session");
    assert!(passed > 1000 && ended > 1000);
}
