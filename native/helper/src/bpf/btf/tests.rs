#![allow(clippy::unwrap_used)]

use super::*;

/// Writes BTF with a few types.
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn new() -> Self {
        Self { types: vec![], strings: vec![0] }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len();
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        u32::try_from(at).unwrap()
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn kind(&mut self, name: &str, kind: u32, other: u32) {
        let name = self.name(name);
        self.words(&[name, kind << 24, other]);
    }

    fn structure(&mut self, name: &str, kind: u32, members: &[(&str, u32, u32)]) {
        let name = self.name(name);
        self.words(&[name, kind << 24 | u32::try_from(members.len()).unwrap(), 64]);
        for (name, kind, bits) in members {
            let name = self.name(name);
            self.words(&[name, *kind, *bits]);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_ne_bytes().to_vec();
        out.extend_from_slice(&[1, 0]);
        let lengths = [24, 0, self.types.len(), self.types.len(), self.strings.len()];
        out.extend(lengths.iter().flat_map(|word| u32::try_from(*word).unwrap().to_ne_bytes()));
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }
}

fn example() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.kind("u32", 1, 4); // 1
    writer.words(&[32]);
    writer.structure("state", STRUCT, &[("count", 1, 0), ("dumpable", 1, 32)]); // 2
    writer.kind("rcu", 18, 2); // 3: a type tag
    writer.kind("", PTR, 3); // 4
    writer.structure("", UNION, &[("pid", 1, 0), ("tid", 1, 0)]); // 5
    writer.structure("task", STRUCT, &[("flags", 1, 0), ("", 5, 32), ("exec", 4, 64)]); // 6
    writer.structure("task", STRUCT, &[]); // 7: forward declaration
    writer.bytes()
}

#[test]
fn members_are_found_by_name_also_in_anonymous_unions() {
    let btf = Btf::parse(example()).unwrap();
    let task = btf.structure("task").unwrap();
    assert_eq!(task.offset("flags"), Ok(0));
    assert_eq!(task.offset("tid"), Ok(4));
    assert_eq!(task.offset("exec"), Ok(8));
    assert_eq!(btf.structure("state").unwrap().offset("dumpable"), Ok(4));
}

#[test]
fn a_pointer_is_found_by_its_target() {
    let btf = Btf::parse(example()).unwrap();
    assert_eq!(btf.structure("task").unwrap().offset_of_pointer("state"), Ok(8));
}

#[test]
fn the_error_names_the_missing_type_or_member() {
    let btf = Btf::parse(example()).unwrap();
    let missing = |name: &str| Refusal::NoBtf { name: name.into() };
    assert_eq!(btf.structure("cred").err(), Some(missing("cred")));
    let task = btf.structure("task").unwrap();
    assert_eq!(task.offset("cred"), Err(missing("task.cred")));
    assert_eq!(task.offset_of_pointer("mm"), Err(missing("task.mm")));
}

#[test]
fn invalid_bytes_do_not_panic() {
    let whole = example();
    for length in 0..whole.len() {
        let _ = Btf::parse(whole[..length].to_vec());
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = whole.clone();
            changed[length] = value;
            if let Some(btf) = Btf::parse(changed) {
                let _ = btf.structure("task").and_then(|task| task.offset_of_pointer("state"));
            }
        }
    }
}

#[test]
fn the_running_kernel_has_all_that_the_programs_need() {
    if !std::path::Path::new(PATH).exists() {
        return; // tested in VMs with such a kernel
    }
    let btf = Btf::of_kernel().unwrap();
    crate::bpf::offsets::Offsets::find(&btf).unwrap();
}
