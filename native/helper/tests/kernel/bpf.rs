//! bpf(2) as root: attached programs, programs of an admin, and contents of maps.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use crate::sys::{self, ATTRIBUTES};

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const MAP_NEXT_KEY: u32 = 4;
const PROGRAM_LOAD: u32 = 5;
const ATTACH: u32 = 8;
const DETACH: u32 = 9;
const INFO: u32 = 15;
const QUERY: u32 = 16;
const LINK_CREATE: u32 = 28;

/// `BPF_F_ALLOW_OVERRIDE`
pub const OVERRIDE: u32 = 1;
/// `BPF_F_ALLOW_MULTI`
pub const MULTI: u32 = 2;

/// The two hooks (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `BPF_CGROUP_INET4_CONNECT`
    Connect4 = 10,
    /// `BPF_CGROUP_INET6_CONNECT`
    Connect6 = 11,
}

pub const HOOKS: [Hook; 2] = [Hook::Connect4, Hook::Connect6];

/// Kinds of BPF objects that have an ID.
#[derive(Clone, Copy)]
pub enum Kind {
    Program,
    Map,
    Link,
}

fn attributes(numbers: &[u32]) -> [u8; ATTRIBUTES] {
    let mut bytes = [0; ATTRIBUTES];
    for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    bytes
}

fn at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

fn number(descriptor: &impl AsRawFd) -> u32 {
    u32::try_from(descriptor.as_raw_fd()).expect("open")
}

fn call(command: u32, numbers: &[u32], buffers: &mut [(usize, &mut [u8])]) -> io::Result<i32> {
    sys::bpf(command, &mut attributes(numbers), buffers)
}

/// All IDs of this kind.
pub fn ids(kind: Kind) -> io::Result<Vec<u32>> {
    let command = match kind {
        Kind::Program => 11,
        Kind::Map => 12,
        Kind::Link => 31,
    };
    let mut found = vec![];
    loop {
        let mut next = attributes(&[found.last().copied().unwrap_or(0)]);
        match sys::bpf(command, &mut next, &mut []) {
            Ok(_) => found.push(at(&next, 4)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            Err(error) => return Err(error),
        }
    }
}

/// Opens the object with this ID.
pub fn by_id(kind: Kind, id: u32) -> io::Result<OwnedFd> {
    let command = match kind {
        Kind::Program => 13,
        Kind::Map => 14,
        Kind::Link => 30,
    };
    call(command, &[id], &mut []).map(sys::own)
}

/// Creates a map with one entry.
pub fn make_map() -> io::Result<OwnedFd> {
    call(MAP_CREATE, &[1, 4, 4, 1], &mut []).map(sys::own)
}

/// The number of programs attached directly to a hook of a cgroup.
pub fn query(cgroup: &File, hook: Hook) -> io::Result<u32> {
    let mut asked = attributes(&[number(cgroup), hook as u32]);
    sys::bpf(QUERY, &mut asked, &mut [])?;
    Ok(at(&asked, 24))
}

/// The number of programs attached to both hooks of a cgroup.
pub fn attached(cgroup: &Path) -> u32 {
    let directory = File::open(cgroup).expect("the cgroup");
    HOOKS.iter().map(|hook| query(&directory, *hook).expect("running as root")).sum()
}

/// A map of another process.
pub struct Map {
    descriptor: OwnedFd,
    key: usize,
    value: usize,
}

/// The newest map with this name.
pub fn newest_map(name: &str) -> Option<Map> {
    let ids = ids(Kind::Map).expect("running as root");
    ids.into_iter().rev().find_map(|id| Map::open(id, name))
}

impl Map {
    fn open(id: u32, name: &str) -> Option<Self> {
        let map = by_id(Kind::Map, id).ok()?;
        let mut info = [0; 80];
        call(INFO, &[number(&map), 80], &mut [(8, &mut info)]).ok()?;
        let size = |offset| at(&info, offset) as usize;
        let (key, value) = (size(8), size(12));
        let named = info[24..40].starts_with(name.as_bytes());
        named.then_some(Self { descriptor: map, key, value })
    }

    /// All entries.
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = vec![];
        let mut key = vec![0; self.key];
        let mut first = true;
        loop {
            let mut next = vec![0; self.key];
            let map = [number(&self.descriptor)];
            let more = if first {
                call(MAP_NEXT_KEY, &map, &mut [(16, &mut next)])
            } else {
                call(MAP_NEXT_KEY, &map, &mut [(8, &mut key), (16, &mut next)])
            };
            if more.is_err() {
                return found;
            }
            let mut value = vec![0; self.value];
            call(MAP_LOOKUP, &map, &mut [(8, &mut next), (16, &mut value)]).expect("it is there");
            found.push((next.clone(), value));
            (key, first) = (next, false);
        }
    }

    /// Overwrites an entry.
    pub fn write(&self, key: &[u8], value: &[u8]) {
        let (mut key, mut value) = (key.to_vec(), value.to_vec());
        let buffers = &mut [(8, &mut key[..]), (16, &mut value[..])];
        call(MAP_UPDATE, &[number(&self.descriptor)], buffers).expect("running as root");
    }
}

/// An instruction: opcode, destination, source, offset, immediate.
type Instruction = (u8, u8, u8, i16, i32);

/// The offset of the port in `struct bpf_sock_addr`, in network byte order.
const USER_PORT: i16 = 24;
const USER_IP4: i16 = 4;

const RETURN: Instruction = (0x95, 0, 0, 0, 0);

fn answer(verdict: i32) -> Instruction {
    (0xb7, 0, 0, 0, verdict)
}

fn network_order(port: u16) -> i32 {
    i32::from(port.to_be())
}

/// A program that allows all connections.
pub fn pass(hook: Hook) -> OwnedFd {
    load(hook, &[answer(1), RETURN])
}

/// A program that rejects connections to a port (EPERM).
pub fn forbid(hook: Hook, port: u16) -> OwnedFd {
    let load_port = (0x61, 1, 1, USER_PORT, 0);
    let unless_equal = (0x55, 1, 0, 1, network_order(port));
    load(hook, &[load_port, answer(1), unless_equal, answer(0), RETURN])
}

/// A load balancer: redirects IPv4 connections from a port to a port on 127.0.0.1.
pub fn balance(port: u16, to: u16) -> OwnedFd {
    let loopback = i32::from_ne_bytes([127, 0, 0, 1]);
    let body = [
        (0x61, 2, 1, USER_PORT, 0),
        (0x55, 2, 0, 4, network_order(port)),
        (0xb7, 3, 0, 0, loopback),
        (0x63, 1, 3, USER_IP4, 0),
        (0xb7, 3, 0, 0, network_order(to)),
        (0x63, 1, 3, USER_PORT, 0),
        answer(1),
        RETURN,
    ];
    load(Hook::Connect4, &body)
}

fn load(hook: Hook, body: &[Instruction]) -> OwnedFd {
    let encode = |&(operation, to, from, offset, number): &Instruction| {
        let mut bytes = vec![operation, to | from << 4];
        bytes.extend(offset.to_ne_bytes());
        bytes.extend(number.to_ne_bytes());
        bytes
    };
    let mut code: Vec<u8> = body.iter().flat_map(encode).collect();
    let count = u32::try_from(body.len()).expect("short");
    // Program type, length, two pointers, log, kernel version, flags, name, device, hook.
    let mut numbers = [0; 18];
    (numbers[0], numbers[1], numbers[17]) = (18, count, hook as u32);
    let buffers = &mut [(8, &mut code[..]), (16, &mut b"GPL\0".to_vec()[..])];
    sys::own(call(PROGRAM_LOAD, &numbers, buffers).expect("root may load"))
}

/// A program attached without a link, until it is dropped.
pub struct Attached {
    cgroup: File,
    program: OwnedFd,
    hook: Hook,
}

/// Attaches with `BPF_PROG_ATTACH` and flags.
pub fn attach(cgroup: &Path, program: OwnedFd, hook: Hook, flags: u32) -> io::Result<Attached> {
    let cgroup = File::open(cgroup)?;
    call(ATTACH, &[number(&cgroup), number(&program), hook as u32, flags], &mut [])?;
    Ok(Attached { cgroup, program, hook })
}

impl Drop for Attached {
    fn drop(&mut self) {
        let numbers = [number(&self.cgroup), number(&self.program), self.hook as u32, 0];
        let _ = call(DETACH, &numbers, &mut []);
    }
}

/// Attaches with a link, until the descriptor is closed.
pub fn link(cgroup: &Path, program: &OwnedFd, hook: Hook) -> io::Result<OwnedFd> {
    let cgroup = File::open(cgroup)?;
    let numbers = [number(program), number(&cgroup), hook as u32, 0];
    call(LINK_CREATE, &numbers, &mut []).map(sys::own)
}
