//! Which redirects are allowed. Anyone can run the helper and write any frame, so the helper
//! decides this itself and does not rely on the library.
//!
//! The programs redirect only connections that the user could change anyway. These limits prevent
//! accidents: connections of this machine to itself and to well-known ports are never redirected.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use k8s_connect_sock_diag::SockDiag;
use k8s_connect_wire::{Destination, MAX_REDIRECTS, MIN_PORT, Redirect, Refusal};
use nix::ifaddrs::getifaddrs;

use crate::{hook::Listener, refusal::kernel};

/// The address of the listener, on the loopback of the destination's address family.
#[must_use]
pub fn arrival(redirect: &Redirect) -> SocketAddr {
    let loopback: IpAddr = match redirect.to {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, redirect.via)
}

/// Checks that do not depend on this machine.
///
/// # Errors
/// The refusal of the first invalid redirect.
pub fn check(redirects: &[Redirect]) -> Result<(), Refusal> {
    if redirects.len() > MAX_REDIRECTS {
        return Err(Refusal::TooManyRedirects { count: redirects.len() });
    }
    let mut seen = HashSet::new();
    for redirect in redirects {
        let to = redirect.to;
        if let Some(cause) = not_a_pods(to.ip()) {
            return Err(Refusal::BadDestination { to, cause });
        }
        for port in [to.port(), redirect.via] {
            if port < MIN_PORT {
                return Err(Refusal::LowPort { to, port });
            }
        }
        // With a scope or a flow label, the same IPv6 address would have another key.
        if !seen.insert((to.ip(), to.port())) {
            return Err(Refusal::DuplicateRedirect { to });
        }
    }
    Ok(())
}

fn not_a_pods(address: IpAddr) -> Option<Destination> {
    match address {
        IpAddr::V4(ip) if ip.is_loopback() => Some(Destination::Loopback),
        IpAddr::V4(ip) if ip.octets()[0] == 0 => Some(Destination::Unspecified),
        IpAddr::V4(ip) if ip.is_multicast() => Some(Destination::Multicast),
        IpAddr::V4(ip) if ip.is_broadcast() => Some(Destination::Broadcast),
        IpAddr::V4(ip) if ip.is_link_local() => Some(Destination::LinkLocal),
        IpAddr::V4(ip) if ip.octets()[0] >= 240 => Some(Destination::Reserved),
        IpAddr::V6(ip) if ip.is_loopback() => Some(Destination::Loopback),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(Destination::Unspecified),
        IpAddr::V6(ip) if ip.is_multicast() => Some(Destination::Multicast),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(Destination::LinkLocal),
        // `::a.b.c.d` and `::ffff:a.b.c.d`
        IpAddr::V6(ip) if ip.to_ipv4().is_some() => Some(Destination::Mapped),
        _ => None,
    }
}

/// Checks that no destination is an address of this machine.
///
/// # Errors
/// [`Refusal::BadDestination`], [`Refusal::Kernel`]
pub fn check_not_local(redirects: &[Redirect]) -> Result<(), Refusal> {
    let own = getifaddrs().map_err(kernel("asking for the own addresses"))?;
    let own: HashSet<IpAddr> = own
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
            v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
        })
        .collect();
    let local = redirects.iter().find(|redirect| own.contains(&redirect.to.ip()));
    local.map_or(Ok(()), |redirect| {
        Err(Refusal::BadDestination { to: redirect.to, cause: Destination::Local })
    })
}

/// Finds the user's listener of a redirect.
///
/// # Errors
/// [`Refusal::NoListener`], [`Refusal::ForeignListener`], [`Refusal::Kernel`]
pub fn listener(
    redirect: &Redirect,
    uid: u32,
    sockets: &mut SockDiag,
) -> Result<Listener, Refusal> {
    let via = redirect.via;
    let found = sockets.listener(arrival(redirect)).map_err(kernel("asking for the listener"))?;
    match found {
        Some(socket) if socket.uid == uid => Ok(Listener { via, cookie: socket.cookie }),
        Some(socket) => Err(Refusal::ForeignListener { via, uid: socket.uid }),
        None => Err(Refusal::NoListener { via }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn verdict(to: &str, via: u16) -> Result<(), Refusal> {
        check(&[Redirect { to: to.parse().unwrap(), via }])
    }

    #[test]
    fn pods_can_be_anywhere() {
        for to in [
            "10.244.1.8:4369",
            "172.17.0.2:1024",
            "100.64.0.1:65535",
            "8.8.8.8:5555",
            "192.0.2.1:5555",
            "[fd00::1]:5555",
            "[2001:db8::1]:5555",
        ] {
            assert_eq!(verdict(to, 40000), Ok(()), "{to}");
        }
    }

    #[test]
    fn an_address_that_no_pod_has_is_refused_with_the_reason() {
        for (to, cause) in [
            ("127.0.0.1:5555", Destination::Loopback),
            ("127.9.9.9:5555", Destination::Loopback),
            ("[::1]:5555", Destination::Loopback),
            ("0.0.0.0:5555", Destination::Unspecified),
            ("0.1.2.3:5555", Destination::Unspecified),
            ("[::]:5555", Destination::Unspecified),
            ("224.0.0.1:5555", Destination::Multicast),
            ("[ff02::1]:5555", Destination::Multicast),
            ("255.255.255.255:5555", Destination::Broadcast),
            ("169.254.169.254:5555", Destination::LinkLocal),
            ("[fe80::1]:5555", Destination::LinkLocal),
            ("240.0.0.1:5555", Destination::Reserved),
            ("[::ffff:10.0.0.1]:5555", Destination::Mapped),
            ("[::10.0.0.1]:5555", Destination::Mapped),
        ] {
            let expected = Refusal::BadDestination { to: to.parse().unwrap(), cause };
            assert_eq!(verdict(to, 40000), Err(expected), "{to}");
        }
    }

    #[test]
    fn well_known_ports_stay_as_they_are() {
        let to = "10.1.1.1:1023".parse().unwrap();
        assert_eq!(verdict("10.1.1.1:1023", 40000), Err(Refusal::LowPort { to, port: 1023 }));
        let to = "10.1.1.1:5555".parse().unwrap();
        assert_eq!(verdict("10.1.1.1:5555", 22), Err(Refusal::LowPort { to, port: 22 }));
        assert_eq!(verdict("10.1.1.1:5555", 0), Err(Refusal::LowPort { to, port: 0 }));
    }

    #[test]
    fn an_address_of_this_machine_is_refused() {
        let redirect = |to: &str| [Redirect { to: to.parse().unwrap(), via: 40000 }];
        let to = "127.0.0.1:5555".parse().unwrap();
        let local = Refusal::BadDestination { to, cause: Destination::Local };
        assert_eq!(check_not_local(&redirect("127.0.0.1:5555")), Err(local));
        assert_eq!(check_not_local(&redirect("192.0.2.1:5555")), Ok(()));
    }

    #[test]
    fn a_set_is_limited_and_has_no_duplicates() {
        let to: SocketAddr = "10.1.1.1:5555".parse().unwrap();
        let twice = [Redirect { to, via: 4000 }, Redirect { to, via: 4001 }];
        assert_eq!(check(&twice), Err(Refusal::DuplicateRedirect { to }));
        let many: Vec<_> = (0..=MAX_REDIRECTS)
            .map(|n| Redirect {
                to: SocketAddr::new(to.ip(), 2000 + u16::try_from(n).unwrap()),
                via: 4000,
            })
            .collect();
        assert_eq!(check(&many), Err(Refusal::TooManyRedirects { count: MAX_REDIRECTS + 1 }));
        assert_eq!(check(&many[1..]), Ok(()));
    }
}
