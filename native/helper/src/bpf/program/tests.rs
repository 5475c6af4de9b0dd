#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use super::*;
use crate::bpf::{
    assembler::{Op, assemble, slots},
    offsets::{Dumpable, Namespace},
};

/// Distinct offsets, to tell them apart in the listing.
const OFFSETS: Offsets = Offsets {
    cred: 1001,
    real_cred: 1002,
    uids: [2001, 2002, 2003, 2004],
    gids: [2011, 2012, 2013, 2014],
    cap_permitted: 2020,
    user_ns: 2030,
    namespace: Namespace { level: 3001, owner: 3002, parent: 3003 },
    dumpable: Dumpable { holder: 1010, flag: 4001, user_ns: 4002, mask: 3 },
    sk_uid: 5001,
    queue: [5004, 5005],
    skc_cookie: 5002,
    skc_state: 5003,
};

fn listing(family: Family) -> String {
    let netns = 0x1234_5678_9abc_def0;
    let purpose = Purpose { family, uid: 1000, gid: 100, netns, map: 7 };
    let lines = connect(&purpose, &OFFSETS);
    let instructions = rbpf::disassembler::to_insn_vec(&assemble(&lines).unwrap());
    // The disassembler returns a 64-bit constant as one instruction.
    let mut instructions = instructions.iter();
    let mut out = String::new();
    let mut number = 0;
    for (op, comment) in &lines {
        match op {
            Op::Define(label) => writeln!(out, "{label:?}:").unwrap(),
            op => {
                let text = &instructions.next().unwrap().desc;
                writeln!(out, "{number:>4}  {text:<36}{comment}").unwrap();
                number += slots(op);
            }
        }
    }
    assert!(instructions.next().is_none());
    out.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// An independent disassembler must print the reviewed listings. After an intended change, run
/// `UPDATE=1 cargo test -p k8s_connect_helper listing` and review the diff.
#[test]
fn the_listings_match_the_assembled_programs() {
    for (family, name) in [(Family::V4, "connect4.txt"), (Family::V6, "connect6.txt")] {
        let path = format!("{}/src/bpf/program/{name}", env!("CARGO_MANIFEST_DIR"));
        let found = listing(family);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), found, "{path}");
    }
}

#[test]
fn keys_and_values_are_as_the_program_reads_them() {
    let mut v4 = [0; 20];
    v4[10..].copy_from_slice(&[0xff, 0xff, 10, 9, 0, 2, 0x19, 0x2b, 0, 0]);
    assert_eq!(key("10.9.0.2:6443".parse().unwrap()), v4);
    assert_eq!(key("[::ffff:10.9.0.2]:6443".parse().unwrap()), v4);
    assert_eq!(value(1, 0x1234)[8..], [0x12, 0x34, 0, 0, 0, 0, 0, 0]);
    assert_eq!(value(0x0102, 1)[..8], 0x0102_u64.to_ne_bytes());
}
