//! The article's own mechanism, DNAT in the output path, by a netfilter table that is ours; with a
//! route of ours for an address that has none.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use k8s_connect_netlink::{route::Routes, sock_diag::SockDiag};
use k8s_connect_wire::{Redirect, Refusal};

use super::{Mechanism, flows, table::Table, tun::Tun};
use crate::{
    capability,
    policy::{self, kernel},
};

/// Everything that it needs is open from the beginning.
pub struct Nft {
    uid: u32,
    table: Table,
    tun: Tun,
    routes: Routes,
    sockets: SockDiag,
    redirects: Vec<Redirect>,
}

impl Nft {
    /// Makes an empty table: it works here, or it doesn't.
    ///
    /// # Errors
    /// [`Refusal::Kernel`], [`Refusal::TooManyHelpers`]
    pub fn open(uid: u32) -> Result<Self, Refusal> {
        let mut sockets = SockDiag::open().map_err(kernel("asking for sockets"))?;
        // Without it, open connections would go on in clear when the rules go.
        sockets.check_destroy().map_err(kernel("ending connections (INET_DIAG_DESTROY)"))?;
        let (table, slot) = Table::open(uid)?;
        let tun = Tun::open(uid, slot);
        let routes = Routes::open().map_err(kernel("asking for routes"))?;
        Ok(Self { uid, table, tun, routes, sockets, redirects: Vec::new() })
    }

    /// The addresses that have no route, or only one of ours.
    fn check(&mut self, redirects: &[Redirect]) -> Result<BTreeSet<IpAddr>, Refusal> {
        policy::check(redirects)?;
        let mut unrouted = BTreeSet::new();
        for redirect in redirects {
            let way = policy::check_here(redirect, self.uid, &mut self.routes, &mut self.sockets)?;
            if self.tun.is_needed(&way, &mut self.routes) {
                unrouted.insert(redirect.to.ip());
            }
        }
        Ok(unrouted)
    }

    /// The routes first: a connection must not find a rule for it and no way there.
    fn put(&mut self, redirects: &[Redirect], unrouted: &BTreeSet<IpAddr>) -> Result<(), Refusal> {
        for address in unrouted {
            self.tun.make(*address, &mut self.routes)?;
            self.table.guard(self.tun.name()).map_err(kernel("guarding the TUN device"))?;
            self.tun.carry(*address, &mut self.routes)?;
        }
        self.table.swap(redirects).map_err(kernel("changing the redirects"))
    }
}

impl Mechanism for Nft {
    fn name(&self) -> &'static str {
        "nft"
    }

    fn would_change(&mut self, redirects: &[Redirect]) -> Result<bool, Refusal> {
        let unrouted = self.check(redirects)?;
        let stays = self.tun.carries_exactly(&unrouted, &mut self.routes);
        Ok(!stays || !same(redirects, &self.redirects))
    }

    fn apply(&mut self, redirects: &[Redirect]) -> Result<(), Refusal> {
        let unrouted = self.check(redirects)?;
        let before: BTreeSet<_> = self.tun.carried().collect();
        capability::with(|| {
            if let Err(refusal) = self.put(redirects, &unrouted) {
                self.tun.carry_only(&before, &mut self.routes);
                let _ = self.table.swap(&self.redirects);
                return Err(refusal);
            }
            let is_gone = |old: &Redirect| redirects.iter().all(|new| new.to != old.to);
            self.redirects.retain(is_gone);
            flows::end(&mut self.sockets, self.uid, &self.redirects);
            self.tun.carry_only(&unrouted, &mut self.routes);
            self.redirects = redirects.to_vec();
            Ok(())
        })
    }

    fn redirects(&self) -> &[Redirect] {
        &self.redirects
    }

    fn routed(&self) -> Vec<IpAddr> {
        self.tun.carried().collect()
    }

    fn news(&self) -> BorrowedFd<'_> {
        self.routes.as_fd()
    }

    fn refresh(&mut self) {
        if self.routes.have_changed() {
            let _ = capability::with(|| {
                self.tun.give_way(&mut self.routes);
                Ok(())
            });
        }
    }

    fn end(mut self: Box<Self>) {
        // No new ones, then no old ones, then, with our descriptors, no rules and no routes.
        // Whatever fails, the rest is done.
        let _ = capability::with(|| {
            let _ = self.table.swap(&[]);
            flows::end(&mut self.sockets, self.uid, &self.redirects);
            Ok(())
        });
    }
}

fn same(one: &[Redirect], other: &[Redirect]) -> bool {
    one.iter().collect::<HashSet<_>>() == other.iter().collect::<HashSet<_>>()
}
