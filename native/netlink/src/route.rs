//! Where an address leads, and routes over a device:
//! <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use crate::{
    Family, Messages, Socket, family_and_bytes,
    message::{self, ACK, APPEND, CREATE, Reply, attribute},
};

const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;

const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PRIORITY: u16 = 6;
const RTA_UID: u16 = 25;

/// `RTMGRP_IPV6_ROUTE`
const IPV6_ROUTES: u32 = 0x400;

const IFF_UP: u32 = 1;
const PERMANENT: u8 = 0x80;
const MAIN_TABLE: u8 = 254;
/// Asked only when `main` has nothing; IPv6 has no such table.
const DEFAULT_TABLE: u8 = 253;
const STATIC: u8 = 4;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;

/// Where packets to an address go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Out of a device.
    Device(u32),
    /// To this machine.
    Here,
    /// Somewhere that is no single machine, such as a broadcast.
    Special,
    /// Nowhere: there is no route.
    None,
}

/// Reads and changes routes, and hears when somebody else changes those of IPv6.
pub struct Routes {
    socket: Socket,
    /// What the kernel knows the socket by; it cannot be asked any more when it is needed.
    own: u32,
    news: Socket,
}

impl AsFd for Routes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }
}

impl Routes {
    /// Opens a way to the kernel. Changes need `CAP_NET_ADMIN`, also when it is opened.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        let news = Socket::subscribed(Family::Route, IPV6_ROUTES)?;
        let socket = Socket::open(Family::Route)?;
        Ok(Self { own: socket.port()?, socket, news })
    }

    /// Whether somebody else has changed IPv6 routes since this was asked; the descriptor can be
    /// read when there may be something.
    pub fn have_changed(&mut self) -> bool {
        self.news.news(self.own)
    }

    /// Where packets of the user `uid` to an address would go.
    ///
    /// # Errors
    /// What the kernel says, other than that there is no route.
    pub fn way(&mut self, to: IpAddr, uid: u32) -> io::Result<Way> {
        let (family, bytes) = family_and_bytes(to);
        let sequence = self.socket.next_sequence();
        let mut request = Messages::default();
        request.begin(GETROUTE, 0, sequence).body(&rtmsg(family, &bytes, 0, 0));
        request.attribute(RTA_DST, &bytes).attribute(RTA_UID, &uid.to_ne_bytes()).end();
        let answer = self.socket.ask(&request, |reply| {
            let device = attribute(reply.body.get(12..)?, RTA_OIF);
            Some((*reply.body.get(7)?, device.and_then(|bytes| message::u32_at(bytes, 0))))
        });
        match answer {
            Ok((LOCAL, _)) => Ok(Way::Here),
            Ok((UNICAST, Some(device))) => Ok(Way::Device(device)),
            Ok(_) => Ok(Way::Special),
            Err(error) if is_no_route(&error) => Ok(Way::None),
            Err(error) => Err(error),
        }
    }

    /// The number of a device.
    ///
    /// # Errors
    /// What the kernel says, for example that there is none.
    pub fn device(&mut self, name: &str) -> io::Result<u32> {
        let request = self.link(0, Some(name));
        self.socket.ask(&request, |reply| message::u32_at(reply.body, 4))
    }

    /// The name of a device.
    ///
    /// # Errors
    /// What the kernel says, for example that there is none.
    pub fn name(&mut self, device: u32) -> io::Result<String> {
        let request = self.link(device, None);
        self.socket.ask(&request, name_of)
    }

    /// Turns a device on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn up(&mut self, device: u32) -> io::Result<()> {
        let sequence = self.socket.next_sequence();
        let mut request = Messages::default();
        let flags = [IFF_UP.to_ne_bytes(), IFF_UP.to_ne_bytes()].concat();
        let body = [vec![0; 4], device.to_ne_bytes().to_vec(), flags].concat();
        request.begin(NEWLINK, ACK, sequence).body(&body).end();
        self.socket.transact(&request, sequence, sequence)
    }

    /// Gives a device an address of its own.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&mut self, device: u32, address: IpAddr) -> io::Result<()> {
        let (family, bytes) = family_and_bytes(address);
        let sequence = self.socket.next_sequence();
        let mut request = Messages::default();
        let body = [vec![family, bits(&bytes), PERMANENT, 0], device.to_ne_bytes().to_vec()];
        request.begin(NEWADDR, ACK | CREATE, sequence).body(&body.concat());
        request.attribute(IFA_LOCAL, &bytes).attribute(IFA_ADDRESS, &bytes).end();
        self.socket.transact(&request, sequence, sequence)
    }

    /// Leads an address to a device, where nothing else does: over IPv4 any other route counts more,
    /// over IPv6 the caller has to see to that.
    /// The metric is the device's number, so that each device can have a route to the same address.
    /// That it is there already is no error.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&mut self, to: IpAddr, device: u32) -> io::Result<()> {
        match self.change(NEWROUTE, ACK | CREATE | APPEND, to, device) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    /// Takes back what [`Routes::add`] has made.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&mut self, to: IpAddr, device: u32) -> io::Result<()> {
        self.change(DELROUTE, ACK, to, device)
    }

    fn change(&mut self, kind: u16, flags: u16, to: IpAddr, device: u32) -> io::Result<()> {
        let (family, bytes) = family_and_bytes(to);
        let table = if to.is_ipv4() { DEFAULT_TABLE } else { MAIN_TABLE };
        let sequence = self.socket.next_sequence();
        let mut request = Messages::default();
        request.begin(kind, flags, sequence).body(&rtmsg(family, &bytes, table, STATIC));
        request.attribute(RTA_DST, &bytes);
        request.attribute(RTA_OIF, &device.to_ne_bytes());
        request.attribute(RTA_PRIORITY, &device.to_ne_bytes()).end();
        self.socket.transact(&request, sequence, sequence)
    }

    fn link(&mut self, device: u32, name: Option<&str>) -> Messages {
        let sequence = self.socket.next_sequence();
        let mut request = Messages::default();
        let body = [vec![0; 4], device.to_ne_bytes().to_vec(), vec![0; 8]].concat();
        request.begin(GETLINK, 0, sequence).body(&body);
        if let Some(name) = name {
            request.text(IFLA_IFNAME, name);
        }
        request.end();
        request
    }
}

fn name_of(reply: &Reply) -> Option<String> {
    let name = attribute(reply.body.get(16..)?, IFLA_IFNAME)?;
    Some(String::from_utf8_lossy(name).trim_end_matches('\0').into())
}

/// `struct rtmsg`; a route that is made is one over a device, without a gateway.
fn rtmsg(family: u8, address: &[u8], table: u8, protocol: u8) -> [u8; 12] {
    let (scope, kind) = if protocol == 0 { (0, 0) } else { (SCOPE_LINK, UNICAST) };
    [family, bits(address), 0, 0, table, protocol, scope, kind, 0, 0, 0, 0]
}

fn bits(address: &[u8]) -> u8 {
    if address.len() == 4 { 32 } else { 128 }
}

fn is_no_route(error: &io::Error) -> bool {
    // Also what `ip route add unreachable|prohibit|blackhole` answers.
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn this_machine_is_here_and_lo_is_a_device() {
        let mut routes = Routes::open().unwrap();
        assert_eq!(routes.way("127.0.0.1".parse().unwrap(), 0).unwrap(), Way::Here);
        assert_eq!(routes.way("::1".parse().unwrap(), 0).unwrap(), Way::Here);
        let lo = routes.device("lo").unwrap();
        assert_eq!(routes.name(lo).unwrap(), "lo");
        assert!(routes.device("no-such-device").is_err());
    }
}
