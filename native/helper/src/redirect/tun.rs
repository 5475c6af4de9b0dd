//! A route for an address that has none: a connection to it would fail before any rule sees it. The
//! route goes over a TUN device, which is there for as long as our descriptor is, and takes its
//! routes with it. Nothing ever comes out of the device: what is redirected leaves it in time, and
//! all else is rejected as it was before, by [`super::table::Table::guard`].

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
    os::unix::fs::OpenOptionsExt,
};

use k8s_connect_netlink::route::{Routes, Way};
use k8s_connect_wire::Refusal;

/// All our devices begin with it.
const PREFIX: &str = "kc";
/// The IPv4 dummy address (RFC 7600), and one of the same use in a random unique local prefix: the
/// source of connections that go by the device.
const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8)),
    IpAddr::V6(Ipv6Addr::new(0xfd6b, 0x3873, 0x636f, 0, 0, 0, 0, 8)),
];

/// The device, made when it is first needed.
pub struct Tun {
    /// `/dev/net/tun`, opened when we still could.
    descriptor: Result<OwnedFd, String>,
    name: String,
    device: Option<u32>,
    carried: BTreeSet<IpAddr>,
}

impl Tun {
    /// Opens what a device can be made of later; that this fails matters when one is needed.
    #[must_use]
    pub fn open() -> Self {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open("/dev/net/tun");
        Self {
            descriptor: opened
                .map(OwnedFd::from)
                .map_err(|error| format!("/dev/net/tun cannot be opened: {error}")),
            name: format!("{PREFIX}{}", std::process::id()),
            device: None,
            carried: BTreeSet::new(),
        }
    }

    /// The device's name, whether it is there or not.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The addresses that it carries.
    pub fn carried(&self) -> impl Iterator<Item = IpAddr> {
        self.carried.iter().copied()
    }

    /// Whether an address with this way needs the device. A way over another session's device is
    /// none: it goes with that session.
    pub fn is_needed(&self, way: &Way, routes: &mut Routes) -> bool {
        match way {
            Way::None => true,
            Way::Device(device) if Some(*device) == self.device => true,
            Way::Device(device) => routes.name(*device).is_ok_and(|name| is_ours(&name)),
            Way::Here | Way::Special => false,
        }
    }

    /// Makes the device, if it is not there.
    ///
    /// # Errors
    /// [`Refusal::NoRoute`] for the address that it is made for.
    pub fn make(&mut self, to: IpAddr, routes: &mut Routes) -> Result<(), Refusal> {
        if self.device.is_some() {
            return Ok(());
        }
        let refused = |problem| Refusal::NoRoute { to, problem };
        let descriptor = self.descriptor.as_ref().map_err(|problem| refused(problem.clone()))?;
        let mut make = || -> io::Result<u32> {
            crate::sys::make_tun(descriptor, &self.name)?;
            let device = routes.device(&self.name)?;
            routes.up(device)?;
            routes.address(device, ADDRESSES[0])?;
            // A machine without IPv6 has no IPv6 pod to reach either.
            let _ = routes.address(device, ADDRESSES[1]);
            Ok(device)
        };
        let problem = |error| refused(format!("a TUN device cannot be made: {error}"));
        self.device = Some(make().map_err(problem)?);
        Ok(())
    }

    /// Leads an address to the device.
    ///
    /// # Errors
    /// [`Refusal::NoRoute`]
    pub fn carry(&mut self, to: IpAddr, routes: &mut Routes) -> Result<(), Refusal> {
        if let Some(device) = self.device
            && self.carried.insert(to)
        {
            routes.add(to, device).map_err(|error| {
                self.carried.remove(&to);
                Refusal::NoRoute { to, problem: format!("no route can be made: {error}") }
            })?;
        }
        Ok(())
    }

    /// Takes back the routes of all other addresses.
    pub fn carry_only(&mut self, addresses: &BTreeSet<IpAddr>, routes: &mut Routes) {
        let Some(device) = self.device else { return };
        for gone in self.carried.difference(addresses) {
            // It may have gone with a device that somebody has turned off.
            let _ = routes.remove(*gone, device);
        }
        self.carried.retain(|address| addresses.contains(address));
    }
}

fn is_ours(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_devices_are_told_by_their_names() {
        assert!(is_ours("kc1"));
        for other in ["kc", "kcp1", "eth0", "tun0", "kc1a"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
