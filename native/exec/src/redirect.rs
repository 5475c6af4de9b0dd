//! Redirects from a pod's address to a local port.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// A redirect from a pod's address to a local port: `10.9.0.2:4369=40001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The pod's address.
    pub to: SocketAddr,
    /// A port on `127.0.0.1`, or on `::1` for an IPv6 address.
    pub via: u16,
}

/// The text does not have the form `ADDRESS:PORT=PORT`.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidRedirect(String);

impl Redirect {
    /// The address of the local listener.
    #[must_use]
    pub fn endpoint(&self) -> SocketAddr {
        let loopback: IpAddr = match self.to.ip().to_canonical() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(loopback, self.via)
    }

    /// The destination of a connection to `address`. It has the address family of `address`,
    /// because the socket supports no other.
    #[must_use]
    pub fn destination(&self, address: SocketAddr) -> Option<SocketAddr> {
        let ip = address.ip().to_canonical();
        if (ip, address.port()) != (self.to.ip().to_canonical(), self.to.port()) {
            return None;
        }
        let loopback: IpAddr = match (address, ip) {
            (SocketAddr::V4(_), _) => Ipv4Addr::LOCALHOST.into(),
            (SocketAddr::V6(_), IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
            (SocketAddr::V6(_), IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
        };
        Some(SocketAddr::new(loopback, self.via))
    }
}

impl FromStr for Redirect {
    type Err = InvalidRedirect;

    fn from_str(text: &str) -> Result<Self, InvalidRedirect> {
        let parse = || {
            let (to, via) = text.split_once('=')?;
            Some(Self { to: to.parse().ok()?, via: via.parse().ok()? })
        };
        parse().ok_or_else(|| InvalidRedirect(text.into()))
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}={}", self.to, self.via)
    }
}

impl fmt::Display for InvalidRedirect {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "invalid redirect {:?}, expected ADDRESS:PORT=PORT", self.0)
    }
}

impl std::error::Error for InvalidRedirect {}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

    use super::*;

    fn destination(redirect: &str, address: &str) -> Option<String> {
        let redirect: Redirect = redirect.parse().expect("a redirect");
        assert_eq!(redirect.to_string().parse(), Ok(redirect));
        redirect.destination(address.parse().expect("an address")).map(|to| to.to_string())
    }

    #[test]
    fn the_destination_keeps_the_address_family() {
        for (redirect, address, to) in [
            ("10.9.0.2:4369=40001", "10.9.0.2:4369", "127.0.0.1:40001"),
            ("10.9.0.2:4369=40001", "[::ffff:10.9.0.2]:4369", "[::ffff:127.0.0.1]:40001"),
            ("[fd09::2]:4369=40001", "[fd09::2]:4369", "[::1]:40001"),
        ] {
            assert_eq!(destination(redirect, address).as_deref(), Some(to));
        }
    }

    #[test]
    fn another_port_or_address_is_not_redirected() {
        for address in ["10.9.0.2:4370", "10.9.0.3:4369", "[fd09::2]:4369", "[::10.9.0.2]:4369"] {
            assert_eq!(destination("10.9.0.2:4369=40001", address), None);
        }
    }

    #[test]
    fn invalid_redirects_are_rejected() {
        for text in ["", "10.9.0.2:4369", "10.9.0.2=1", "host:1=2", "10.9.0.2:1=65536"] {
            assert_eq!(text.parse::<Redirect>(), Err(InvalidRedirect(text.into())));
        }
    }
}
