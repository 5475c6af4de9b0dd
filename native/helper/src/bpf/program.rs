//! The program that the kernel runs at each `connect()` of a process in the user's slice. It changes
//! the address to that of the user's own listener, if and only if the user could trace the process
//! with ptrace, and owns the socket and the listener. Whatever is not so leaves the connection as it
//! is; a listener that has gone makes `connect()` fail with `ECONNREFUSED`.
//!
//! The question is the kernel's own (`__ptrace_may_access` in `kernel/ptrace.c`): whoever may trace
//! a process can change its connections anyway.
//!
//! The context is `struct bpf_sock_addr`, and the helper functions are those of `linux/bpf.h`. Some
//! of them are for programs under a licence compatible with the GPL: this file may be used under
//! the MIT licence or the GPL, version 2, as well.

use super::{
    assembler::{
        Choice::{Dumpable, LookUpMapped, Namespace, RewriteMapped},
        Label::{After, Climb, Else, Outermost, Refused, Release, Untouched},
        Line,
        Op::{
            Add, And32, Call, Exit, Jump, JumpIf, JumpIfLess, JumpIfMore, JumpIfNull, JumpUnless,
            JumpUnlessSame, Load, Move, Or32, Place, Set, Set64, SetMap, Store, StoreNumber,
        },
        Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10},
        Size::{B8, B16, B32, B64},
    },
    offsets::Offsets,
};

/// The licence that the kernel is told.
pub const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";

/// Which of the two hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `BPF_CGROUP_INET4_CONNECT`
    V4,
    /// `BPF_CGROUP_INET6_CONNECT`
    V6,
}

/// What a program is made for.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// Which hook it is for.
    pub family: Family,
    /// The user whose connections it redirects.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
    /// The network namespace whose connections it redirects (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// The descriptor of the map from [`key`] to [`value`].
    pub map: i32,
}

// Members of `struct bpf_sock_addr`
const USER_IP4: i16 = 4;
const USER_IP6: i16 = 8;
const USER_PORT: i16 = 24;
const PROTOCOL: i16 = 36;
const SK: i16 = 64;

// Helper functions
const MAP_LOOKUP_ELEM: i32 = 1;
const GET_CURRENT_UID_GID: i32 = 15;
const SETSOCKOPT: i32 = 49;
const SK_LOOKUP_TCP: i32 = 84;
const SK_RELEASE: i32 = 86;
const GET_NETNS_COOKIE: i32 = 122;
const SKC_TO_TCP_SOCK: i32 = 137;
const GET_CURRENT_TASK_BTF: i32 = 158;
const SET_RETVAL: i32 = 187;

const TCP: i32 = 6;
const TCP_LISTEN: i32 = 10;
const ECONNREFUSED: i32 = 111;
const TCP_SYNCNT: i32 = 7;
/// Ports below 1024 have less than that in their first byte. What the kernel itself connects to on
/// the user's behalf, such as a file server, is there.
const UNPRIVILEGED: i32 = 1024 >> 8;
/// The first words of `::ffff:0:0/96` are zero, and this is the third.
const MAPPED: i32 = 0x0000_ffff_u32.to_be().cast_signed();
const LOOPBACK4: i32 = 0x7f00_0001_u32.to_be().cast_signed();
/// The last word of `::1`.
const LOOPBACK6: i32 = 1_u32.to_be().cast_signed();
/// User namespaces are nested no deeper.
const MAX_LEVEL: i32 = 33;

// On the stack
const KEY: i16 = -24;
const TUPLE: i16 = -64;
/// The listener's port, read once: the map may change between the check and the use.
const PORT: i16 = -4;

/// The size of a [`key`].
pub const KEY_SIZE: u32 = 20;
/// The size of a [`value`].
pub const VALUE_SIZE: u32 = 16;

/// The map's key: an IPv6 address, which may be a mapped IPv4 one, and a port.
#[must_use]
pub fn key(to: std::net::SocketAddr) -> [u8; 20] {
    let address = match to.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    };
    let mut key = [0; 20];
    key[..16].copy_from_slice(&address.octets());
    key[16..18].copy_from_slice(&to.port().to_be_bytes());
    key
}

/// The map's value: the listener's cookie and port.
#[must_use]
pub fn value(cookie: u64, via: u16) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&cookie.to_ne_bytes());
    value[8..10].copy_from_slice(&via.to_be_bytes());
    value
}

/// The whole program.
#[must_use]
pub fn connect(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    let v4 = purpose.family == Family::V4;
    [
        same_user_and_network(purpose),
        if v4 { key_of_ipv4() } else { key_of_ipv6() },
        look_up(purpose.map),
        own_credentials(purpose, at),
        no_more_capable(purpose, at),
        dumpable(purpose, at),
        own_socket(purpose, at),
        if v4 { look_up_listener4() } else { look_up_listener6() },
        own_listener(purpose, at),
        few_retransmissions(),
        if v4 { to_loopback4() } else { to_loopback6() },
        endings(),
    ]
    .concat()
}

/// What turns nearly every connection away, and costs little.
fn same_user_and_network(purpose: &Purpose) -> Vec<Line> {
    vec![
        (Move(R6, R1), "the context, for the whole program"),
        (Load(B32, R1, R6, PROTOCOL), "the transport protocol"),
        (JumpUnless(R1, TCP, Untouched), "UDP has connect(), too"),
        (Call(GET_CURRENT_UID_GID), "the lower half is the real user id"),
        (JumpUnless(R0, purpose.uid.cast_signed(), Untouched), "another user"),
        (Move(R1, R6), "the context"),
        (Call(GET_NETNS_COOKIE), "the socket's, not the process's"),
        (Set64(R1, purpose.netns), "the helper's"),
        (JumpUnlessSame(R0, R1, Untouched), "127.0.0.1 is another machine there"),
    ]
}

fn key_of_ipv4() -> Vec<Line> {
    vec![
        (StoreNumber(B64, R10, KEY, 0), "the key is an IPv6 address: ::"),
        (StoreNumber(B32, R10, KEY + 8, MAPPED), "ffff:"),
        (Load(B32, R1, R6, USER_IP4), "the destination"),
        (Store(B32, R10, KEY + 12, R1), "as its last four bytes"),
    ]
}

fn key_of_ipv6() -> Vec<Line> {
    (0..4)
        .flat_map(|word| {
            [
                (Load(B32, R1, R6, USER_IP6 + 4 * word), "a quarter of the destination"),
                (Store(B32, R10, KEY + 4 * word, R1), "into the key"),
            ]
        })
        .collect()
}

fn look_up(map: i32) -> Vec<Line> {
    vec![
        (StoreNumber(B32, R10, KEY + 16, 0), "two bytes of port and two of padding"),
        (Load(B32, R1, R6, USER_PORT), "in the network's byte order"),
        (Store(B16, R10, KEY + 16, R1), "into the key"),
        (Load(B8, R1, R10, KEY + 16), "the port's first byte"),
        (JumpIfLess(R1, UNPRIVILEGED, Untouched), "a well-known port, whatever the map says"),
        (Move(R2, R10), "the key's address"),
        (Add(R2, KEY.into()), "on the stack"),
        (SetMap(R1, map), "the targets"),
        (Call(MAP_LOOKUP_ELEM), "answers the value's address, or null"),
        (JumpIfNull(R0, Untouched), "no target of ours"),
        (Move(R9, R0), "the listener: cookie and port"),
    ]
}

/// All ids are the user's, as ptrace asks; and the process acts as itself. `io_uring` lets a
/// process act with the credentials of another one that has registered them.
fn own_credentials(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    let mut lines = vec![
        (Call(GET_CURRENT_TASK_BTF), "the task that connects"),
        (Move(R7, R0), "kept"),
        (Load(B64, R8, R7, at.cred), "the credentials that count now"),
        (JumpIfNull(R8, Untouched), "never; the verifier wants to know"),
        (Load(B64, R1, R7, at.real_cred), "the task's own"),
        (JumpIfNull(R1, Untouched), "never"),
        (JumpUnlessSame(R1, R8, Untouched), "on behalf of somebody else"),
    ];
    for offset in at.uids {
        lines.push((Load(B32, R1, R8, offset), "uid, euid, suid, fsuid"));
        lines.push((JumpUnless(R1, purpose.uid.cast_signed(), Untouched), "setuid, seteuid"));
    }
    for offset in at.gids {
        lines.push((Load(B32, R1, R8, offset), "gid, egid, sgid, fsgid"));
        lines.push((JumpUnless(R1, purpose.gid.cast_signed(), Untouched), "setgid, newgrp"));
    }
    lines
}

/// A process with a capability is not the user's to trace, unless it has it in a user namespace of
/// the user's own: the user has every capability there.
fn no_more_capable(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    let mut lines = vec![
        (Load(B64, R2, R8, at.user_ns), "the user namespace of its capabilities"),
        (JumpIfNull(R2, Untouched), "never"),
        (Load(B32, R1, R2, at.namespace.level), "0 is the initial one"),
        (JumpUnless(R1, 0, Else(Namespace)), "a user namespace of somebody's"),
        (Load(B32, R1, R8, at.cap_permitted), "capabilities 0 to 31"),
        (JumpUnless(R1, 0, Untouched), "file capabilities, ambient ones"),
        (Load(B32, R1, R8, at.cap_permitted + 4), "and 32 to 63"),
        (JumpUnless(R1, 0, Untouched), "the same"),
        (Jump(After(Namespace)), "no capability"),
        (Place(Else(Namespace)), ""),
    ];
    lines.extend(owned_namespace(purpose, at, 0));
    lines.push((Place(After(Namespace)), ""));
    lines
}

/// Goes on if the user namespace in `R2`, not the initial one, is inside of one that the user has
/// created in the initial one.
fn owned_namespace(purpose: &Purpose, at: &Offsets, number: u8) -> Vec<Line> {
    let namespace = at.namespace;
    vec![
        (Set(R3, 0), "how many were passed: the kernel wants to see an end"),
        (Place(Climb(number)), ""),
        (Load(B32, R1, R2, namespace.level), "1 was created in the initial one"),
        (JumpIf(R1, 1, Outermost(number)), "found"),
        (Load(B64, R2, R2, namespace.parent), "one level up"),
        (JumpIfNull(R2, Untouched), "never"),
        (Add(R3, 1), "one more"),
        (JumpUnless(R3, MAX_LEVEL, Climb(number)), "again"),
        (Jump(Untouched), "never"),
        (Place(Outermost(number)), ""),
        (Load(B32, R1, R2, namespace.owner), "the effective user who has created it"),
        (JumpUnless(R1, purpose.uid.cast_signed(), Untouched), "another user's"),
    ]
}

/// A process that its user may not trace, unless it was executed in a user namespace of the user's.
fn dumpable(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    let dumpable = at.dumpable;
    let mut lines = vec![
        (Load(B64, R8, R7, dumpable.holder), "the task's memory"),
        (JumpIfNull(R8, Untouched), "a kernel thread"),
        (Load(B32, R1, R8, dumpable.flag), "what PR_SET_DUMPABLE sets"),
        (And32(R1, dumpable.mask), "and not the flags beside it"),
        (JumpIf(R1, 1, After(Dumpable)), "SUID_DUMP_USER"),
        (Load(B64, R2, R8, dumpable.user_ns), "in which the program was executed"),
        (JumpIfNull(R2, Untouched), "never"),
        (Load(B32, R1, R2, at.namespace.level), "0 is the initial one"),
        (JumpIf(R1, 0, Untouched), "not dumpable"),
    ];
    lines.extend(owned_namespace(purpose, at, 1));
    lines.push((Place(After(Dumpable)), ""));
    lines
}

/// Another user may have made the socket and passed it on.
fn own_socket(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    vec![
        (Load(B64, R1, R6, SK), "the socket"),
        (JumpIfNull(R1, Untouched), "never"),
        (Call(SKC_TO_TCP_SOCK), "as the kernel's own structure"),
        (JumpIfNull(R0, Untouched), "not TCP"),
        (Load(B32, R1, R0, at.sk_uid), "who has made it"),
        (JumpUnless(R1, purpose.uid.cast_signed(), Untouched), "another user"),
    ]
}

/// `struct bpf_sock_tuple`, IPv4: source and destination address, source and destination port.
fn look_up_listener4() -> Vec<Line> {
    [empty_tuple(), tuple4(), find_listener()].concat()
}

/// And IPv6, which is longer.
fn look_up_listener6() -> Vec<Line> {
    [
        empty_tuple(),
        unless_mapped(LookUpMapped),
        tuple4(),
        vec![(Jump(After(LookUpMapped)), "skip IPv6"), (Place(Else(LookUpMapped)), "")],
        vec![
            (StoreNumber(B32, R10, TUPLE + 28, LOOPBACK6), "to ::1"),
            (Load(B16, R1, R9, 8), "the listener's port"),
            (Store(B16, R10, PORT, R1), "kept"),
            (Store(B16, R10, TUPLE + 34, R1), "in its place"),
            (Set(R3, 36), "the tuple's length"),
            (Place(After(LookUpMapped)), ""),
        ],
        find_listener(),
    ]
    .concat()
}

fn empty_tuple() -> Vec<Line> {
    let zero = |offset| (StoreNumber(B64, R10, TUPLE + offset, 0), "from anywhere");
    let mut lines: Vec<Line> = [0, 8, 16, 24].map(zero).to_vec();
    lines.push((StoreNumber(B32, R10, TUPLE + 32, 0), "from anywhere"));
    lines
}

fn tuple4() -> Vec<Line> {
    vec![
        (StoreNumber(B32, R10, TUPLE + 4, LOOPBACK4), "to 127.0.0.1"),
        (Load(B16, R1, R9, 8), "the listener's port"),
        (Store(B16, R10, PORT, R1), "kept"),
        (Store(B16, R10, TUPLE + 10, R1), "in its place"),
        (Set(R3, 12), "the tuple's length"),
    ]
}

/// Goes on where the address is a mapped IPv4 one, and to the other alternative where not.
fn unless_mapped(choice: super::assembler::Choice) -> Vec<Line> {
    vec![
        (Load(B32, R1, R6, USER_IP6), "the first quarter"),
        (Load(B32, R2, R6, USER_IP6 + 4), "the second"),
        (Or32(R1, R2), "both"),
        (JumpUnless(R1, 0, Else(choice)), "not ::"),
        (Load(B32, R1, R6, USER_IP6 + 8), "the third"),
        (JumpUnless(R1, MAPPED, Else(choice)), "not ::ffff:"),
    ]
}

fn find_listener() -> Vec<Line> {
    vec![
        (Move(R1, R6), "the context"),
        (Move(R2, R10), "the tuple's address"),
        (Add(R2, TUPLE.into()), "on the stack"),
        (Set64(R4, u64::MAX), "in the socket's network namespace"),
        (Set(R5, 0), "no flags"),
        (Call(SK_LOOKUP_TCP), "answers a socket to be released, or null"),
        (JumpIfNull(R0, Refused), "nothing listens there any more"),
    ]
}

/// The very listener that the redirect was made for, and the user's. Its port may have got another
/// owner meanwhile.
fn own_listener(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    vec![
        (Move(R8, R0), "kept, to be released"),
        (Set(R7, 0), "not the listener, until it is seen"),
        (Move(R1, R0), "the socket"),
        (Call(SKC_TO_TCP_SOCK), "as the kernel's own structure"),
        (JumpIfNull(R0, Release), "a connection that is about to end"),
        (Load(B32, R1, R0, at.sk_uid), "who has made it"),
        (JumpUnless(R1, purpose.uid.cast_signed(), Release), "another user"),
        (Load(B8, R1, R0, at.skc_state), "its state"),
        (JumpUnless(R1, TCP_LISTEN, Release), "no listener"),
        (Load(B64, R1, R0, at.skc_cookie), "its cookie"),
        (Load(B64, R2, R9, 0), "the listener's cookie"),
        (JumpUnlessSame(R1, R2, Release), "another socket on its port"),
        (Load(B32, R1, R0, at.queue[0]), "how many connections wait to be accepted"),
        (Load(B32, R2, R0, at.queue[1]), "how many may"),
        (JumpIfMore(R1, R2, Release), "full: the SYN would be dropped, and repeated later"),
        (Set(R7, 1), "the listener"),
        (Place(Release), ""),
        (Move(R1, R8), "the socket"),
        (Call(SK_RELEASE), "in every case"),
        (JumpIfNull(R7, Refused), "not the listener"),
    ]
}

/// A SYN that is lost all the same is repeated for a few seconds (`tcp_syn_linear_timeouts` counts on
/// top), and not for two minutes: by then the port may be another user's.
fn few_retransmissions() -> Vec<Line> {
    vec![
        (StoreNumber(B32, R10, TUPLE, 1), "once"),
        (Move(R1, R6), "the context"),
        (Set(R2, TCP), "IPPROTO_TCP"),
        (Set(R3, TCP_SYNCNT), "the option"),
        (Move(R4, R10), "the number's address"),
        (Add(R4, TUPLE.into()), "on the stack"),
        (Set(R5, 4), "its length"),
        (Call(SETSOCKOPT), "a failure changes nothing else"),
    ]
}

fn to_loopback4() -> Vec<Line> {
    vec![
        (Set(R1, LOOPBACK4), "127.0.0.1"),
        (Store(B32, R6, USER_IP4, R1), "is where to connect"),
        (Load(B16, R1, R10, PORT), "the listener's port"),
        (Store(B32, R6, USER_PORT, R1), "in its place"),
    ]
}

fn to_loopback6() -> Vec<Line> {
    [
        unless_mapped(RewriteMapped),
        vec![
            (Set(R1, LOOPBACK4), "127.0.0.1"),
            (Store(B32, R6, USER_IP6 + 12, R1), "after the ::ffff: that is there"),
            (Jump(After(RewriteMapped)), "skip IPv6"),
            (Place(Else(RewriteMapped)), ""),
            (Set(R1, 0), "::"),
            (Store(B32, R6, USER_IP6, R1), "the first quarter"),
            (Store(B32, R6, USER_IP6 + 4, R1), "the second"),
            (Store(B32, R6, USER_IP6 + 8, R1), "the third"),
            (Set(R1, LOOPBACK6), "1"),
            (Store(B32, R6, USER_IP6 + 12, R1), "the last"),
            (Place(After(RewriteMapped)), ""),
            (Load(B16, R1, R10, PORT), "the listener's port"),
            (Store(B32, R6, USER_PORT, R1), "in its place"),
        ],
    ]
    .concat()
}

fn endings() -> Vec<Line> {
    vec![
        (Place(Untouched), ""),
        (Set(R0, 1), "go on"),
        (Exit, ""),
        (Place(Refused), ""),
        (Set(R1, -ECONNREFUSED), "what connect() answers"),
        (Call(SET_RETVAL), "instead of EPERM"),
        (Set(R0, 0), "do not go on"),
        (Exit, ""),
    ]
}

#[cfg(test)]
mod tests;
