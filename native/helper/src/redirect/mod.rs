//! How connections are led elsewhere. What a mechanism holds in the kernel hangs on its descriptors
//! and goes with them.

use std::{net::IpAddr, os::fd::BorrowedFd};

use k8s_connect_wire::{Redirect, Refusal};

pub mod flows;
mod nft;
mod table;
mod tun;

/// A way to lead connections elsewhere.
pub trait Mechanism {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// Whether these may be the redirects, and are not yet.
    ///
    /// # Errors
    /// The refusal.
    fn would_change(&mut self, redirects: &[Redirect]) -> Result<bool, Refusal>;

    /// Makes these the redirects, all of them, in one step; connections that go by one that is not
    /// among them any more are ended. On a refusal all is as it was.
    ///
    /// # Errors
    /// The refusal.
    fn apply(&mut self, redirects: &[Redirect]) -> Result<(), Refusal>;

    /// The redirects that there are.
    fn redirects(&self) -> &[Redirect];

    /// The addresses that had no route and have one of ours.
    fn routed(&self) -> Vec<IpAddr>;

    /// Can be read when [`Mechanism::refresh`] may have something to do.
    fn news(&self) -> BorrowedFd<'_>;

    /// Adapts to what others have changed on this machine.
    fn refresh(&mut self);

    /// Ends every connection that goes by a redirect, and takes back everything.
    fn end(self: Box<Self>);
}

/// Opens the first mechanism that works here, for the connections of `uid`. To be called with the
/// capability on; nothing is opened after it.
///
/// # Errors
/// Why the last one does not work.
pub fn open(uid: u32) -> Result<Box<dyn Mechanism>, Refusal> {
    Ok(Box::new(nft::Nft::open(uid)?))
}
