//! Netlink, as far as `k8s_connect` needs it: [`message`]s written and read by hand, a [`socket`]
//! to the kernel, and on top of them whose a connection is ([`sock_diag`]) and where an address
//! leads ([`route`]). Linux only; elsewhere the crate is empty.
//!
//! The kernel's own description: <https://docs.kernel.org/userspace-api/netlink/intro.html>.
#![cfg(target_os = "linux")]

pub mod message;
pub mod route;
pub mod sock_diag;
pub mod socket;

pub use message::Messages;
pub use socket::{Family, Socket};

/// `AF_INET`, `AF_INET6`, and an address as its bytes.
#[must_use]
pub fn family_and_bytes(address: std::net::IpAddr) -> (u8, Vec<u8>) {
    match address {
        std::net::IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        std::net::IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

/// The family of IPv4.
pub const AF_INET: u8 = 2;
/// The family of IPv6.
pub const AF_INET6: u8 = 10;
