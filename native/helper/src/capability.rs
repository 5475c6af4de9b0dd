//! The capabilities: what they are for, and what may have kept the helper from them.
//!
//! `CAP_BPF` makes the map, `CAP_NET_ADMIN` loads and attaches programs of this kind, and
//! `CAP_PERFMON` lets them read the credentials of the process that connects. All of them are given
//! up before the first byte of input is read.

use std::os::unix::fs::MetadataExt;

use k8s_connect_wire::{Missing, Refusal};
use nix::sys::{prctl, statvfs};

use crate::{refusal::kernel, sys};

const SETGID: u32 = 6;
const SETUID: u32 = 7;
const NET_ADMIN: u32 = 12;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// What the file must have.
const NEEDED: [u32; 3] = [NET_ADMIN, PERFMON, BPF];
/// The inode of the initial user namespace (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// Turns on what is needed, and gives up all other capabilities. Root keeps what it needs to become
/// another user.
///
/// # Errors
/// [`Refusal::NoCapability`], [`Refusal::NoNewPrivs`], [`Refusal::Nosuid`], [`Refusal::Kernel`]
pub fn raise(as_root: bool) -> Result<(), Refusal> {
    let permitted = sys::permitted_capabilities().map_err(kernel("reading the capabilities"))?;
    if permitted & mask(&NEEDED) != mask(&NEEDED) {
        return Err(missing());
    }
    let own = if as_root { mask(&[SETGID, SETUID]) } else { 0 };
    let all = mask(&NEEDED) | own;
    sys::set_capabilities(all, all).map_err(kernel("turning on the capabilities"))
}

/// Keeps one that is not in effect: enough to be out of the user's reach, and nothing to use.
///
/// # Errors
/// [`Refusal::Kernel`]
pub fn keep_unused() -> Result<(), Refusal> {
    let kept = mask(&[PERFMON]);
    sys::set_capabilities(kept, 0).map_err(kernel("giving up the capabilities"))
}

/// Gives up all of them.
///
/// # Errors
/// [`Refusal::Kernel`]
pub fn drop_all() -> Result<(), Refusal> {
    sys::set_capabilities(0, 0).map_err(kernel("giving up the capabilities"))
}

fn mask(capabilities: &[u32]) -> u64 {
    capabilities.iter().map(|capability| 1_u64 << capability).sum()
}

fn missing() -> Refusal {
    let nosuid = statvfs::statvfs("/proc/self/exe")
        .is_ok_and(|fs| fs.flags().contains(statvfs::FsFlags::ST_NOSUID));
    if prctl::get_no_new_privs().unwrap_or(false) {
        Refusal::NoNewPrivs
    } else if nosuid {
        Refusal::Nosuid
    } else if !NEEDED.into_iter().all(sys::bounding_set_has) {
        Refusal::NoCapability { why: Missing::BoundingSet }
    } else if sys::file_has_capabilities() {
        Refusal::NoCapability { why: Missing::Unknown }
    } else {
        Refusal::NoCapability { why: Missing::FileCapabilities }
    }
}

/// In a user namespace of its own this process has other ids, and capabilities that do not count.
///
/// # Errors
/// [`Refusal::NoCapability`]
pub fn check_user_namespace() -> Result<(), Refusal> {
    // Without /proc there is no way to tell; the kernel then refuses the map.
    let namespace = std::fs::metadata("/proc/self/ns/user");
    if namespace.map_or(true, |namespace| namespace.ino() == INITIAL_USER_NAMESPACE) {
        Ok(())
    } else {
        Err(Refusal::NoCapability { why: Missing::UserNamespace })
    }
}
