//! The BPF program that runs at each `connect()` in the user's slice, as a table of instructions.
//! It rewrites the destination to the user's local listener, but only if the user may trace the
//! process (ptrace) and owns both the socket and the listener. Otherwise the connection is
//! unchanged. If the listener has closed, `connect()` fails with `ECONNREFUSED`.
//!
//! The check is that of the kernel (`__ptrace_may_access` in `kernel/ptrace.c`): a user who may
//! trace a process can change its connections anyway.
//!
//! The context is `struct bpf_sock_addr`, and the helper functions are declared in `linux/bpf.h`.
//! Some helper functions require a GPL-compatible license, so this file is also licensed under the
//! MIT license or the GPL, version 2.

use super::{
    assembler::{
        Choice::{Dumpable, LookUpMapped, Namespace, RewriteMapped},
        Label::{Else, EndIf, Loop, LoopEnd, Refused, Release, Untouched},
        Line,
        Op::{
            Add, And32, Call, Define, Exit, Jump, JumpIf, JumpIfLess, JumpIfMore, JumpIfNull,
            JumpUnless, JumpUnlessSame, Load, Move, Or32, Set, Set64, SetMap, Store, StoreNumber,
        },
        Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10},
        Size::{B8, B16, B32, B64},
    },
    offsets::Offsets,
};

/// The license that is passed to the kernel.
pub const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";

/// The hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `BPF_CGROUP_INET4_CONNECT`
    V4,
    /// `BPF_CGROUP_INET6_CONNECT`
    V6,
}

/// The parameters of a program.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// The hook of the program.
    pub family: Family,
    /// The user whose connections are redirected.
    pub uid: u32,
    /// The primary group of the user.
    pub gid: u32,
    /// The network namespace of the redirected connections (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// The descriptor of the map, which maps [`key`] to [`value`].
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
/// Ports below 1024 have a smaller first byte. These are never redirected, because the kernel
/// itself connects to such ports for the user, for example to NFS servers.
const UNPRIVILEGED: i32 = 1024 >> 8;
/// The third word of `::ffff:0:0/96`. The first two are zero.
const MAPPED: i32 = 0x0000_ffff_u32.to_be().cast_signed();
const LOOPBACK4: i32 = 0x7f00_0001_u32.to_be().cast_signed();
/// The last word of `::1`.
const LOOPBACK6: i32 = 1_u32.to_be().cast_signed();
/// The kernel limits the nesting of user namespaces to this level.
const MAX_LEVEL: i32 = 33;

// Offsets on the stack
const KEY: i16 = -24;
const TUPLE: i16 = -64;
/// The port of the listener, read once, because the map may change between check and use.
const PORT: i16 = -4;

/// The size of a [`key`].
pub const KEY_SIZE: u32 = 20;
/// The size of a [`value`].
pub const VALUE_SIZE: u32 = 16;

/// The key of the map: an IPv6 or IPv4-mapped address, and a port.
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

/// The value in the map: cookie and port of the listener.
#[must_use]
pub fn value(cookie: u64, via: u16) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&cookie.to_ne_bytes());
    value[8..10].copy_from_slice(&via.to_be_bytes());
    value
}

/// The complete program.
#[must_use]
pub fn connect(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    let v4 = purpose.family == Family::V4;
    [
        same_user_and_network(purpose),
        if v4 { key_of_ipv4() } else { key_of_ipv6() },
        look_up(purpose.map),
        own_credentials(purpose, at),
        no_capabilities(purpose, at),
        dumpable(purpose, at),
        own_socket(purpose, at),
        if v4 { look_up_listener4() } else { look_up_listener6() },
        own_listener(purpose, at),
        limit_retransmissions(),
        if v4 { rewrite_to_ipv4_loopback() } else { rewrite_to_loopback() },
        exits(),
    ]
    .concat()
}

/// Cheap checks, which exclude nearly all connections.
fn same_user_and_network(purpose: &Purpose) -> Vec<Line> {
    vec![
        (Move(R6, R1), "the context, saved"),
        (Load(B32, R1, R6, PROTOCOL), "the transport protocol"),
        (JumpUnless(R1, TCP, Untouched), "not TCP"),
        (Call(GET_CURRENT_UID_GID), "the lower half is the real UID"),
        (JumpUnless(R0, purpose.uid.cast_signed(), Untouched), "another user"),
        (Move(R1, R6), "the context"),
        (Call(GET_NETNS_COOKIE), "of the socket, not of the process"),
        (Set64(R1, purpose.netns), "of the helper"),
        (JumpUnlessSame(R0, R1, Untouched), "another network namespace"),
    ]
}

fn key_of_ipv4() -> Vec<Line> {
    vec![
        (StoreNumber(B64, R10, KEY, 0), "the key is an IPv6 address: ::"),
        (StoreNumber(B32, R10, KEY + 8, MAPPED), "ffff:"),
        (Load(B32, R1, R6, USER_IP4), "the destination"),
        (Store(B32, R10, KEY + 12, R1), "as the last four bytes"),
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
        (StoreNumber(B32, R10, KEY + 16, 0), "port and padding"),
        (Load(B32, R1, R6, USER_PORT), "in network byte order"),
        (Store(B16, R10, KEY + 16, R1), "into the key"),
        (Load(B8, R1, R10, KEY + 16), "first byte of the port"),
        (JumpIfLess(R1, UNPRIVILEGED, Untouched), "a well-known port"),
        (Move(R2, R10), "pointer to the key"),
        (Add(R2, KEY.into()), "on the stack"),
        (SetMap(R1, map), "the map of redirects"),
        (Call(MAP_LOOKUP_ELEM), "returns a pointer to the value, or null"),
        (JumpIfNull(R0, Untouched), "no redirect"),
        (Move(R9, R0), "the value: cookie and port of the listener"),
    ]
}

/// All user and group IDs must be the user's, as for ptrace. The process must also act with its own
/// credentials: with `io_uring`, it can use credentials that another process has registered.
fn own_credentials(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    let mut lines = vec![
        (Call(GET_CURRENT_TASK_BTF), "the task that connects"),
        (Move(R7, R0), "saved"),
        (Load(B64, R8, R7, at.cred), "its subjective credentials"),
        (JumpIfNull(R8, Untouched), "never null, but the verifier requires the check"),
        (Load(B64, R1, R7, at.real_cred), "its objective credentials"),
        (JumpIfNull(R1, Untouched), "never"),
        (JumpUnlessSame(R1, R8, Untouched), "it acts with other credentials"),
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

/// The process must have no capabilities, except in a user namespace that the user owns: there the
/// user has all capabilities.
fn no_capabilities(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    let mut lines = vec![
        (Load(B64, R2, R8, at.user_ns), "the user namespace of its capabilities"),
        (JumpIfNull(R2, Untouched), "never"),
        (Load(B32, R1, R2, at.namespace.level), "0 is the initial one"),
        (JumpUnless(R1, 0, Else(Namespace)), "not the initial user namespace"),
        (Load(B32, R1, R8, at.cap_permitted), "capabilities 0 to 31"),
        (JumpUnless(R1, 0, Untouched), "file capabilities, ambient ones"),
        (Load(B32, R1, R8, at.cap_permitted + 4), "and 32 to 63"),
        (JumpUnless(R1, 0, Untouched), "capabilities"),
        (Jump(EndIf(Namespace)), "no capability"),
        (Define(Else(Namespace)), ""),
    ];
    lines.extend(owned_namespace(purpose, at, 0));
    lines.push((Define(EndIf(Namespace)), ""));
    lines
}

/// Continues if `R2`, a user namespace other than the initial one, is a descendant of a namespace
/// that the user created in the initial one.
fn owned_namespace(purpose: &Purpose, at: &Offsets, number: u8) -> Vec<Line> {
    let namespace = at.namespace;
    vec![
        (Set(R3, 0), "the loop counter: the verifier requires a bound"),
        (Define(Loop(number)), ""),
        (Load(B32, R1, R2, namespace.level), "level 1: the parent is the initial one"),
        (JumpIf(R1, 1, LoopEnd(number)), "found it"),
        (Load(B64, R2, R2, namespace.parent), "the parent namespace"),
        (JumpIfNull(R2, Untouched), "never"),
        (Add(R3, 1), "count"),
        (JumpUnless(R3, MAX_LEVEL, Loop(number)), "next level"),
        (Jump(Untouched), "never"),
        (Define(LoopEnd(number)), ""),
        (Load(B32, R1, R2, namespace.owner), "the user who created it"),
        (JumpUnless(R1, purpose.uid.cast_signed(), Untouched), "owned by another user"),
    ]
}

/// The process must be dumpable, or executed in a user namespace that the user owns.
fn dumpable(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    let dumpable = at.dumpable;
    let mut lines = vec![
        (Load(B64, R8, R7, dumpable.holder), "the structure with the flag"),
        (JumpIfNull(R8, Untouched), "a kernel thread"),
        (Load(B32, R1, R8, dumpable.flag), "the dumpable flag"),
        (And32(R1, dumpable.mask), "without the other flags"),
        (JumpIf(R1, 1, EndIf(Dumpable)), "SUID_DUMP_USER"),
        (Load(B64, R2, R8, dumpable.user_ns), "the user namespace at execve"),
        (JumpIfNull(R2, Untouched), "never"),
        (Load(B32, R1, R2, at.namespace.level), "0 is the initial one"),
        (JumpIf(R1, 0, Untouched), "not dumpable"),
    ];
    lines.extend(owned_namespace(purpose, at, 1));
    lines.push((Define(EndIf(Dumpable)), ""));
    lines
}

/// The user must own the socket: another user may have created it and passed it on.
fn own_socket(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    vec![
        (Load(B64, R1, R6, SK), "the socket"),
        (JumpIfNull(R1, Untouched), "never"),
        (Call(SKC_TO_TCP_SOCK), "as struct tcp_sock"),
        (JumpIfNull(R0, Untouched), "not TCP"),
        (Load(B32, R1, R0, at.sk_uid), "the owner"),
        (JumpUnless(R1, purpose.uid.cast_signed(), Untouched), "another user"),
    ]
}

/// Looks up the listener with an IPv4 `struct bpf_sock_tuple`: addresses, then ports.
fn look_up_listener4() -> Vec<Line> {
    [empty_tuple(), tuple4(), find_listener()].concat()
}

/// Looks up the listener with an IPv6 tuple, or with an IPv4 tuple for a mapped address.
fn look_up_listener6() -> Vec<Line> {
    [
        empty_tuple(),
        unless_mapped(LookUpMapped),
        tuple4(),
        vec![(Jump(EndIf(LookUpMapped)), "skip IPv6"), (Define(Else(LookUpMapped)), "")],
        vec![
            (StoreNumber(B32, R10, TUPLE + 28, LOOPBACK6), "destination ::1"),
            (Load(B16, R1, R9, 8), "the listener's port"),
            (Store(B16, R10, PORT, R1), "saved"),
            (Store(B16, R10, TUPLE + 34, R1), "destination port"),
            (Set(R3, 36), "length of the tuple"),
            (Define(EndIf(LookUpMapped)), ""),
        ],
        find_listener(),
    ]
    .concat()
}

fn empty_tuple() -> Vec<Line> {
    let zero = |offset| (StoreNumber(B64, R10, TUPLE + offset, 0), "any source");
    let mut lines: Vec<Line> = [0, 8, 16, 24].map(zero).to_vec();
    lines.push((StoreNumber(B32, R10, TUPLE + 32, 0), "any source"));
    lines
}

fn tuple4() -> Vec<Line> {
    vec![
        (StoreNumber(B32, R10, TUPLE + 4, LOOPBACK4), "destination 127.0.0.1"),
        (Load(B16, R1, R9, 8), "the listener's port"),
        (Store(B16, R10, PORT, R1), "saved"),
        (Store(B16, R10, TUPLE + 10, R1), "destination port"),
        (Set(R3, 12), "length of the tuple"),
    ]
}

/// Continues if the address is IPv4-mapped, otherwise jumps to the other branch.
fn unless_mapped(choice: super::assembler::Choice) -> Vec<Line> {
    vec![
        (Load(B32, R1, R6, USER_IP6), "the first quarter"),
        (Load(B32, R2, R6, USER_IP6 + 4), "the second quarter"),
        (Or32(R1, R2), "combined"),
        (JumpUnless(R1, 0, Else(choice)), "not ::"),
        (Load(B32, R1, R6, USER_IP6 + 8), "the third quarter"),
        (JumpUnless(R1, MAPPED, Else(choice)), "not ::ffff:"),
    ]
}

fn find_listener() -> Vec<Line> {
    vec![
        (Move(R1, R6), "the context"),
        (Move(R2, R10), "pointer to the tuple"),
        (Add(R2, TUPLE.into()), "on the stack"),
        (Set64(R4, u64::MAX), "in the socket's network namespace"),
        (Set(R5, 0), "no flags"),
        (Call(SK_LOOKUP_TCP), "returns a socket to release, or null"),
        (JumpIfNull(R0, Refused), "nothing listens on the port"),
    ]
}

/// The socket must be the listener of the redirect, owned by the user. Its port may have been taken
/// over by another user.
fn own_listener(purpose: &Purpose, at: &Offsets) -> Vec<Line> {
    vec![
        (Move(R8, R0), "saved, to release it"),
        (Set(R7, 0), "not the listener, until checked"),
        (Move(R1, R0), "the socket"),
        (Call(SKC_TO_TCP_SOCK), "as struct tcp_sock"),
        (JumpIfNull(R0, Release), "a connection in TIME_WAIT"),
        (Load(B32, R1, R0, at.sk_uid), "the owner"),
        (JumpUnless(R1, purpose.uid.cast_signed(), Release), "another user"),
        (Load(B8, R1, R0, at.skc_state), "its state"),
        (JumpUnless(R1, TCP_LISTEN, Release), "not listening"),
        (Load(B64, R1, R0, at.skc_cookie), "its cookie"),
        (Load(B64, R2, R9, 0), "the listener's cookie"),
        (JumpUnlessSame(R1, R2, Release), "another listener on the port"),
        (Load(B32, R1, R0, at.queue[0]), "length of the accept queue"),
        (Load(B32, R2, R0, at.queue[1]), "its limit"),
        (JumpIfMore(R1, R2, Release), "full: the SYN would be dropped and retransmitted"),
        (Set(R7, 1), "the listener"),
        (Define(Release), ""),
        (Move(R1, R8), "the socket"),
        (Call(SK_RELEASE), "release it in every case"),
        (JumpIfNull(R7, Refused), "not the listener"),
    ]
}

/// Limits SYN retransmissions to a few seconds (plus `tcp_syn_linear_timeouts`) instead of two
/// minutes: by then, another user could listen on the port.
fn limit_retransmissions() -> Vec<Line> {
    vec![
        (StoreNumber(B32, R10, TUPLE, 1), "one retransmission"),
        (Move(R1, R6), "the context"),
        (Set(R2, TCP), "IPPROTO_TCP"),
        (Set(R3, TCP_SYNCNT), "the option"),
        (Move(R4, R10), "pointer to the value"),
        (Add(R4, TUPLE.into()), "on the stack"),
        (Set(R5, 4), "length of the value"),
        (Call(SETSOCKOPT), "a failure is ignored"),
    ]
}

fn rewrite_to_ipv4_loopback() -> Vec<Line> {
    vec![
        (Set(R1, LOOPBACK4), "127.0.0.1"),
        (Store(B32, R6, USER_IP4, R1), "the new destination"),
        (Load(B16, R1, R10, PORT), "the listener's port"),
        (Store(B32, R6, USER_PORT, R1), "destination port"),
    ]
}

fn rewrite_to_loopback() -> Vec<Line> {
    [
        unless_mapped(RewriteMapped),
        vec![
            (Set(R1, LOOPBACK4), "127.0.0.1"),
            (Store(B32, R6, USER_IP6 + 12, R1), "after the prefix ::ffff:"),
            (Jump(EndIf(RewriteMapped)), "skip IPv6"),
            (Define(Else(RewriteMapped)), ""),
            (Set(R1, 0), "::"),
            (Store(B32, R6, USER_IP6, R1), "the first quarter"),
            (Store(B32, R6, USER_IP6 + 4, R1), "the second quarter"),
            (Store(B32, R6, USER_IP6 + 8, R1), "the third quarter"),
            (Set(R1, LOOPBACK6), "1"),
            (Store(B32, R6, USER_IP6 + 12, R1), "the last quarter"),
            (Define(EndIf(RewriteMapped)), ""),
            (Load(B16, R1, R10, PORT), "the listener's port"),
            (Store(B32, R6, USER_PORT, R1), "destination port"),
        ],
    ]
    .concat()
}

fn exits() -> Vec<Line> {
    vec![
        (Define(Untouched), ""),
        (Set(R0, 1), "continue the call"),
        (Exit, ""),
        (Define(Refused), ""),
        (Set(R1, -ECONNREFUSED), "the error of connect()"),
        (Call(SET_RETVAL), "instead of EPERM"),
        (Set(R0, 0), "reject the call"),
        (Exit, ""),
    ]
}

#[cfg(test)]
mod tests;
