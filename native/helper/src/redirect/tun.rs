//! A route for an address that has none: a connection to it would fail before any rule sees it. The
//! route goes over a TUN device, which is there for as long as our descriptor is, and takes its
//! routes with it. Nothing ever comes out of the device: what is redirected leaves it in time, and
//! all else is rejected, by [`super::table::Table::guard`].
//!
//! A route is everybody's, so it must be there only while there is no other. Over IPv4 the kernel
//! sees to that: it looks into the table `default` after all others. IPv6 has no such table; there
//! we hear of other routes, and give way.

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

/// Whose routes are everybody's.
const ROOT: u32 = 0;

/// The device, made when it is first needed.
pub struct Tun {
    /// `/dev/net/tun`, opened when we still could.
    descriptor: Result<OwnedFd, String>,
    uid: u32,
    name: String,
    device: Option<u32>,
    carried: BTreeSet<IpAddr>,
}

impl Tun {
    /// Opens what a device can be made of later; that this fails matters when one is needed.
    #[must_use]
    pub fn open(uid: u32, slot: u32) -> Self {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open("/dev/net/tun");
        Self {
            descriptor: opened
                .map(OwnedFd::from)
                .map_err(|error| format!("/dev/net/tun cannot be opened: {error}")),
            uid,
            name: format!("{PREFIX}{uid}_{slot}"),
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
        let Some(device) = self.device else { return Ok(()) };
        let refused = |problem| Refusal::NoRoute { to, problem };
        // Over IPv6 a route of ours would count more than theirs.
        if to.is_ipv6() && !self.is_needed(&way(to, ROOT, routes), routes) {
            return Err(refused(
                "it has one for others, and a rule that keeps this user off".into(),
            ));
        }
        // Again where it is there: it goes when somebody turns the device off.
        routes
            .add(to, device)
            .map_err(|error| refused(format!("no route can be made: {error}")))?;
        self.carried.insert(to);
        // Another session of ours may have one that counts more; it will not for ever.
        let way = way(to, self.uid, routes);
        if way == Way::None || !self.is_needed(&way, routes) {
            return Err(refused("a rule or another route counts more than ours".into()));
        }
        Ok(())
    }

    /// Lets go of each IPv6 address that has got a route of somebody else's.
    pub fn give_way(&mut self, routes: &mut Routes) {
        let Some(device) = self.device else { return };
        for address in self.carried.clone().into_iter().filter(IpAddr::is_ipv6) {
            // With ours in place the kernel would not tell of another.
            let _ = routes.remove(address, device);
            let theirs = way(address, ROOT, routes);
            if !self.is_needed(&theirs, routes) || routes.add(address, device).is_err() {
                self.carried.remove(&address);
            }
        }
    }

    /// Whether it carries these addresses and no others, and the kernel still has it so.
    pub fn carries_exactly(&self, addresses: &BTreeSet<IpAddr>, routes: &mut Routes) -> bool {
        let ours = self.device.map(Way::Device);
        self.carried == *addresses
            && addresses.iter().all(|address| Some(way(*address, self.uid, routes)) == ours)
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

/// What cannot be asked for leads nowhere.
fn way(to: IpAddr, uid: u32, routes: &mut Routes) -> Way {
    routes.way(to, uid).unwrap_or(Way::None)
}

fn is_ours(name: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().is_ok();
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('_'))
        .is_some_and(|(uid, slot)| number(uid) && number(slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_devices_are_told_by_their_names() {
        assert!(is_ours("kc4200_0"));
        for other in ["kc", "kc1", "kc_", "kcp1_1", "eth0", "tun0_1", "kc1_a"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
