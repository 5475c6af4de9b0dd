//! The netfilter table, over netlink and without running `nft`. In nft's words it is
//!
//! ```text
//! table inet k8s_connect_UID_N {
//!   flags owner
//!   map to4 { type ipv4_addr . inet_service : ipv4_addr . inet_service }
//!   map to6 { type ipv6_addr . inet_service : ipv6_addr . inet_service }
//!   chain output {
//!     type nat hook output priority -105
//!     meta nfproto ipv4 meta skuid UID meta l4proto tcp dnat ip to ip daddr . tcp dport map @to4
//!     meta nfproto ipv6 meta skuid UID meta l4proto tcp dnat ip6 to ip6 daddr . tcp dport map @to6
//!   }
//!   chain guard {                                  # only when there is a TUN device
//!     type filter hook output priority 0
//!     meta nfproto ipv4 oifname kcUID_N ip daddr != 127.0.0.1 reject with icmpx no-route
//!     meta nfproto ipv6 oifname kcUID_N ip6 daddr != ::1 meta l4proto tcp reject with tcp reset
//!     meta nfproto ipv6 oifname kcUID_N ip6 daddr != ::1 reject with icmpx no-route
//!   }
//! }
//! ```
//!
//! `flags owner` (Linux 5.12) makes it ours: nobody else can change it, `nft flush ruleset` passes
//! it over, and it goes with our socket. The numbers are those of `linux/netfilter/nf_tables.h`.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use k8s_connect_netlink::{
    AF_INET, AF_INET6, Family, Messages, Socket, family_and_bytes,
    message::{ACK, APPEND, CREATE, DUMP, EXCLUSIVE, Reply, attribute, attributes},
};
use k8s_connect_wire::{MAX_HELPERS, Redirect, Refusal};

use crate::policy::{self, kernel};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const INET: u8 = 1;

// What a message is about.
const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const DELSETELEM: u16 = 14;

const OWNER: u32 = 2;
const HOOK_OUTPUT: u32 = 3;
/// Before everybody else's at -100, among them Docker's and iptables'.
const BEFORE_OTHERS: i32 = -105;
const IS_MAP: u32 = 8;
/// `ipv4_addr . inet_service` and `ipv6_addr . inet_service`, for `nft list` to show.
const TYPE4: u32 = (7 << 6) + 13;
const TYPE6: u32 = (8 << 6) + 13;
/// A map that has just grown is still being moved in the kernel, and a list of it may lack some.
const READS: usize = 50;
/// The attribute of elements takes no more than 64 KiB.
const ELEMENTS: usize = 400;

const META_OIFNAME: u32 = 7;
const META_SKUID: u32 = 10;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const TCP: u8 = 6;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// Four words of registers begin with it.
const REGISTER: u32 = 1;
/// The second and the fifth of those words.
const WORD1: u32 = 9;
const WORD4: u32 = 12;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const DNAT: u32 = 1;
const REJECT_TCP_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;

/// The table; it goes with this.
pub struct Table {
    socket: Socket,
    name: String,
    guarded: bool,
}

impl Table {
    /// Makes the table, empty, in the first place that is free; answers its number, too. To be called
    /// with the capability on, as every other function here.
    ///
    /// Each table of anybody's is in the way of everybody's connections, and the kernel has room for
    /// about a thousand: a user has a few, and the kernel counts them.
    ///
    /// # Errors
    /// [`Refusal::TooManyHelpers`], [`Refusal::Kernel`]
    pub fn open(uid: u32) -> Result<(Self, u32), Refusal> {
        let failed = kernel("making a netfilter table");
        let mut last = None;
        for slot in 0..MAX_HELPERS {
            match Self::make(uid, slot) {
                Ok(table) => return Ok((table, slot)),
                // A table of another helper's, and a kernel that lets nobody make one.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => last = Some(error),
                Err(error) => return Err(failed(error)),
            }
        }
        match last {
            Some(error) if !Self::exists(uid, 0) => Err(failed(error)),
            _ => Err(Refusal::TooManyHelpers { limit: MAX_HELPERS }),
        }
    }

    fn exists(uid: u32, slot: u32) -> bool {
        let ask = || -> io::Result<()> {
            let mut socket = Socket::open(Family::Netfilter)?;
            let sequence = socket.next_sequence();
            let mut request = Messages::default();
            request.begin(SUBSYSTEM << 8 | GETTABLE, 0, sequence).body(&[INET, 0, 0, 0]);
            request.text(1, &table_name(uid, slot)).end();
            socket.ask(&request, |_| Some(()))
        };
        ask().is_ok()
    }

    fn make(uid: u32, slot: u32) -> io::Result<Self> {
        let name = table_name(uid, slot);
        let mut table = Self { socket: Socket::open(Family::Netfilter)?, name, guarded: false };
        let mut batch = table.batch();
        batch.message(NEWTABLE, CREATE | EXCLUSIVE, |table| {
            table.be32(2, OWNER);
        });
        batch.chain("output", "nat", BEFORE_OTHERS);
        batch.map(4);
        batch.map(6);
        batch.rule("output", |rule| redirect_rule(rule, 4, uid));
        batch.rule("output", |rule| redirect_rule(rule, 6, uid));
        batch.commit()?;
        Ok(table)
    }

    /// Rejects what would leave by the TUN device without having been redirected, as if there were
    /// no route. IPv6 gets a reset instead: it makes a program wait a second for anything else.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn guard(&mut self, device: &str) -> io::Result<()> {
        if self.guarded {
            return Ok(());
        }
        let mut batch = self.batch();
        batch.chain("guard", "filter", 0);
        batch.rule("guard", |rule| guard_rule(rule, 4, device, false));
        batch.rule("guard", |rule| guard_rule(rule, 6, device, true));
        batch.rule("guard", |rule| guard_rule(rule, 6, device, false));
        batch.commit()?;
        self.guarded = true;
        Ok(())
    }

    /// Makes these the redirects, all of them, in one step, and asks the kernel back.
    ///
    /// # Errors
    /// What the kernel says, or that it does not have what was asked for.
    pub fn swap(&mut self, redirects: &[Redirect]) -> io::Result<()> {
        let mut batch = self.batch();
        for version in [4, 6] {
            // Without elements it means all of them.
            batch.message(DELSETELEM, 0, |elements| {
                elements.text(2, map_name(version));
            });
            let of_version: Vec<_> = redirects
                .iter()
                .filter(|redirect| redirect.to.is_ipv4() == (version == 4))
                .collect();
            for chunk in of_version.chunks(ELEMENTS) {
                batch
                    .message(NEWSETELEM, CREATE, |elements| put_elements(elements, version, chunk));
            }
        }
        batch.commit()?;
        let wanted: HashSet<_> = redirects.iter().map(element).collect();
        for _ in 0..READS {
            if self.elements()? == wanted {
                return Ok(());
            }
        }
        Err(io::Error::other("the kernel has other redirects than it was given"))
    }

    fn elements(&mut self) -> io::Result<HashSet<Element>> {
        let mut found = HashSet::new();
        for version in [4, 6] {
            let sequence = self.socket.next_sequence();
            let mut request = Messages::default();
            request.begin(SUBSYSTEM << 8 | GETSETELEM, DUMP, sequence).body(&[INET, 0, 0, 0]);
            request.text(1, &self.name).text(2, map_name(version)).end();
            self.socket.dump(&request, |reply| found.extend(read_elements(reply)))?;
        }
        Ok(found)
    }

    fn batch(&mut self) -> Batch<'_> {
        let first = self.socket.next_sequence();
        let mut messages = Messages::default();
        messages.begin(BATCH_BEGIN, 0, first).body(&BATCH).end();
        Batch { socket: &mut self.socket, table: &self.name, messages, first, last: first }
    }
}

/// The family, the version, and the subsystem in the network's byte order.
const BATCH: [u8; 4] = [0, 0, 0, SUBSYSTEM.to_be_bytes()[1]];

/// Messages about one table that take effect together, or not at all.
struct Batch<'a> {
    socket: &'a mut Socket,
    table: &'a str,
    messages: Messages,
    first: u32,
    last: u32,
}

impl Batch<'_> {
    fn commit(mut self) -> io::Result<()> {
        self.messages.begin(BATCH_END, 0, self.socket.next_sequence()).body(&BATCH).end();
        self.socket.transact(&self.messages, self.first, self.last)
    }

    fn message(&mut self, kind: u16, flags: u16, inside: impl FnOnce(&mut Messages)) {
        self.last = self.socket.next_sequence();
        self.messages.begin(SUBSYSTEM << 8 | kind, flags | ACK, self.last);
        self.messages.body(&[INET, 0, 0, 0]).text(1, self.table);
        inside(&mut self.messages);
        self.messages.end();
    }

    fn chain(&mut self, name: &str, kind: &str, priority: i32) {
        self.message(NEWCHAIN, CREATE, |chain| {
            chain.text(3, name);
            chain.nest(4, |hook| {
                hook.be32(1, HOOK_OUTPUT).be32(2, priority.cast_unsigned());
            });
            chain.text(7, kind);
        });
    }

    fn map(&mut self, version: u8) {
        let (kind, length) = if version == 4 { (TYPE4, 8) } else { (TYPE6, 20) };
        self.message(NEWSET, CREATE, |map| {
            map.text(2, map_name(version)).be32(3, IS_MAP);
            map.be32(4, kind).be32(5, length).be32(6, kind).be32(7, length);
            map.be32(10, u32::from(version)); // a number of its own in this batch
        });
    }

    fn rule(&mut self, chain: &str, expressions: impl FnOnce(&mut Messages)) {
        self.message(NEWRULE, CREATE | APPEND, |rule| {
            rule.text(2, chain).nest(4, expressions);
        });
    }
}

fn table_name(uid: u32, slot: u32) -> String {
    format!("k8s_connect_{uid}_{slot}")
}

fn map_name(version: u8) -> &'static str {
    if version == 4 { "to4" } else { "to6" }
}

// Rules

fn redirect_rule(rule: &mut Messages, version: u8, uid: u32) {
    let (family, second) = if version == 4 { (AF_INET, WORD1) } else { (AF_INET6, WORD4) };
    is_version(rule, version);
    meta(rule, META_SKUID);
    compare(rule, EQUAL, &uid.to_ne_bytes());
    meta(rule, META_L4PROTO);
    compare(rule, EQUAL, &[TCP]);
    destination(rule, version);
    payload(rule, TRANSPORT_HEADER, 2, 2, second);
    expression(rule, "lookup", |lookup| {
        lookup.text(1, map_name(version)).be32(2, REGISTER).be32(3, REGISTER);
    });
    expression(rule, "nat", |nat| {
        nat.be32(1, DNAT).be32(2, u32::from(family)).be32(3, REGISTER).be32(5, second);
    });
}

fn guard_rule(rule: &mut Messages, version: u8, device: &str, tcp: bool) {
    is_version(rule, version);
    meta(rule, META_OIFNAME);
    let mut name = [0; 16];
    name[..device.len()].copy_from_slice(device.as_bytes());
    compare(rule, EQUAL, &name);
    // What was redirected still has the old device here, and its new address.
    destination(rule, version);
    match version {
        4 => compare(rule, NOT_EQUAL, &Ipv4Addr::LOCALHOST.octets()),
        _ => compare(rule, NOT_EQUAL, &Ipv6Addr::LOCALHOST.octets()),
    }
    if tcp {
        meta(rule, META_L4PROTO);
        compare(rule, EQUAL, &[TCP]);
    }
    expression(rule, "reject", |reject| {
        reject.be32(1, if tcp { REJECT_TCP_RESET } else { REJECT_ICMPX });
        reject.attribute(2, &[0]); // no route
    });
}

fn is_version(rule: &mut Messages, version: u8) {
    meta(rule, META_NFPROTO);
    compare(rule, EQUAL, &[if version == 4 { AF_INET } else { AF_INET6 }]);
}

fn destination(rule: &mut Messages, version: u8) {
    let (at, length) = if version == 4 { (16, 4) } else { (24, 16) };
    payload(rule, NETWORK_HEADER, at, length, REGISTER);
}

fn expression(rule: &mut Messages, name: &str, inside: impl FnOnce(&mut Messages)) {
    rule.nest(1, |expression| {
        expression.text(1, name).nest(2, inside);
    });
}

fn meta(rule: &mut Messages, key: u32) {
    expression(rule, "meta", |meta| {
        meta.be32(2, key).be32(1, REGISTER);
    });
}

fn compare(rule: &mut Messages, how: u32, value: &[u8]) {
    expression(rule, "cmp", |compare| {
        compare.be32(1, REGISTER).be32(2, how).nest(3, |data| {
            data.attribute(1, value);
        });
    });
}

fn payload(rule: &mut Messages, header: u32, at: u32, length: u32, register: u32) {
    expression(rule, "payload", |payload| {
        payload.be32(1, register).be32(2, header).be32(3, at).be32(4, length);
    });
}

// Elements: an address and a port, each in whole words; the key, and where it leads

type Element = (Vec<u8>, Vec<u8>);

fn element(redirect: &Redirect) -> Element {
    let arrival = policy::arrival(redirect);
    (words(redirect.to.ip(), redirect.to.port()), words(arrival.ip(), arrival.port()))
}

fn words(address: IpAddr, port: u16) -> Vec<u8> {
    let (_, mut words) = family_and_bytes(address);
    words.extend_from_slice(&port.to_be_bytes());
    words.extend_from_slice(&[0, 0]);
    words
}

fn put_elements(message: &mut Messages, version: u8, redirects: &[&Redirect]) {
    message.text(2, map_name(version)).nest(3, |list| {
        for redirect in redirects {
            let (key, value) = element(redirect);
            list.nest(1, |element| {
                element.nest(1, |data| {
                    data.attribute(1, &key);
                });
                element.nest(2, |data| {
                    data.attribute(1, &value);
                });
            });
        }
    });
}

fn read_elements(reply: &Reply) -> Vec<Element> {
    let list = reply.body.get(4..).and_then(|body| attribute(body, 3)).unwrap_or_default();
    let value = |element, kind| Some(attribute(attribute(element, kind)?, 1)?.to_vec());
    attributes(list)
        .filter_map(|(_, element)| Some((value(element, 1)?, value(element, 2)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_connect_netlink::message;

    use super::*;

    #[test]
    fn elements_are_read_as_they_are_written() {
        let redirects = ["10.1.2.3:5555", "10.1.2.4:5555"]
            .map(|to| Redirect { to: to.parse().unwrap(), via: 4000 });
        let mut messages = Messages::default();
        messages.begin(NEWSETELEM, 0, 1).body(&[INET, 0, 0, 0]).text(1, "table");
        put_elements(&mut messages, 4, &redirects.iter().collect::<Vec<_>>());
        messages.end();
        let reply = message::replies(messages.bytes()).next().unwrap();
        assert_eq!(read_elements(&reply), redirects.iter().map(element).collect::<Vec<_>>());
    }
}
