//! What may be redirected. Anyone can run this program and write any frame, so all of it is decided
//! here and none of it by the library.
//!
//! A user can lead astray only what is the user's own already: connections of the same uid, which
//! the user could also change inside of the programs that make them. The limits on ports and
//! addresses are for programs of the same uid that the user cannot change, such as setgid or
//! sandboxed ones: what they say to this machine itself, and to well-known ports, stays as it is.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use k8s_connect_netlink::{
    route::{Routes, Way},
    sock_diag::SockDiag,
};
use k8s_connect_wire::{Destination, MAX_REDIRECTS, MIN_PORT, Redirect, Refusal};

/// Where connections to an address arrive.
#[must_use]
pub fn arrival(redirect: &Redirect) -> SocketAddr {
    let loopback: IpAddr = match redirect.to {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, redirect.via)
}

/// What can be said of a set by looking at it alone.
///
/// # Errors
/// The refusal of the first redirect that is not allowed.
pub fn check(redirects: &[Redirect]) -> Result<(), Refusal> {
    if redirects.len() > MAX_REDIRECTS {
        return Err(Refusal::TooMany { count: redirects.len() });
    }
    let mut seen = HashSet::new();
    for redirect in redirects {
        let to = redirect.to;
        if let Some(why) = not_a_pods(to.ip()) {
            return Err(Refusal::BadDestination { to, why });
        }
        for port in [to.port(), redirect.via] {
            if port < MIN_PORT {
                return Err(Refusal::LowPort { to, port });
            }
        }
        // An IPv6 address with a scope or a flow would be another key for the same address.
        if !seen.insert((to.ip(), to.port())) {
            return Err(Refusal::Twice { to });
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

/// What only this machine can say of a redirect: whether its address is another machine's, and
/// whether the user's own program listens where connections arrive. Answers the way to the address.
///
/// # Errors
/// [`Refusal::BadDestination`], [`Refusal::NoListener`], [`Refusal::ForeignListener`],
/// [`Refusal::Kernel`]
pub fn check_here(
    redirect: &Redirect,
    uid: u32,
    routes: &mut Routes,
    sockets: &mut SockDiag,
) -> Result<Way, Refusal> {
    let to = redirect.to;
    let way = routes.way(to.ip(), uid).map_err(kernel("asking for the route"))?;
    match way {
        Way::Here => return Err(Refusal::BadDestination { to, why: Destination::Local }),
        Way::Special => return Err(Refusal::BadDestination { to, why: Destination::Broadcast }),
        Way::Device(_) | Way::None => {}
    }
    let via = redirect.via;
    let listener =
        sockets.listener(arrival(redirect)).map_err(kernel("asking for the listener"))?;
    match listener {
        Some(socket) if socket.uid == uid => Ok(way),
        Some(socket) => Err(Refusal::ForeignListener { via, uid: socket.uid }),
        None => Err(Refusal::NoListener { via }),
    }
}

/// Makes a refusal of what the kernel said to a request.
pub fn kernel(step: &'static str) -> impl Fn(io::Error) -> Refusal {
    move |error| Refusal::Kernel { step: step.into(), problem: error.to_string() }
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
    fn what_is_no_pods_address_is_refused_by_its_name() {
        for (to, why) in [
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
            let expected = Refusal::BadDestination { to: to.parse().unwrap(), why };
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
    fn a_set_has_each_destination_once_and_an_end() {
        let to: SocketAddr = "10.1.1.1:5555".parse().unwrap();
        let twice = [Redirect { to, via: 4000 }, Redirect { to, via: 4001 }];
        assert_eq!(check(&twice), Err(Refusal::Twice { to }));
        let many: Vec<_> = (0..=MAX_REDIRECTS)
            .map(|n| Redirect {
                to: SocketAddr::new(to.ip(), 2000 + u16::try_from(n).unwrap()),
                via: 4000,
            })
            .collect();
        assert_eq!(check(&many), Err(Refusal::TooMany { count: MAX_REDIRECTS + 1 }));
        assert_eq!(check(&many[1..]), Ok(()));
    }
}
