//! The capabilities of the helper, and the reasons why they may be missing.
//!
//! `CAP_BPF` is for the map, `CAP_NET_ADMIN` to load and attach the programs, and `CAP_PERFMON`
//! lets the programs read the credentials of the connecting process. All are dropped before any
//! input is read.

use std::os::unix::fs::MetadataExt;

use k8s_connect_wire::{Missing, Refusal};
use nix::sys::{prctl, statvfs};

use crate::{refusal::kernel, sys};

const SETGID: u32 = 6;
const SETUID: u32 = 7;
const NET_ADMIN: u32 = 12;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// The required file capabilities.
const NEEDED: [u32; 3] = [NET_ADMIN, PERFMON, BPF];
/// The inode of the initial user namespace (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// Makes the required capabilities effective and drops all others. Under sudo, also keeps those for
/// switching the user.
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
    sys::set_capabilities(all, all).map_err(kernel("raising the capabilities"))
}

/// Keeps one permitted capability that is not effective. The user then cannot trace this process,
/// and it can do nothing with the capability.
///
/// # Errors
/// [`Refusal::Kernel`]
pub fn keep_unused() -> Result<(), Refusal> {
    let kept = mask(&[PERFMON]);
    sys::set_capabilities(kept, 0).map_err(kernel("dropping the capabilities"))
}

/// Drops all capabilities.
///
/// # Errors
/// [`Refusal::Kernel`]
pub fn drop_all() -> Result<(), Refusal> {
    sys::set_capabilities(0, 0).map_err(kernel("dropping the capabilities"))
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
        Refusal::NoCapability { cause: Missing::BoundingSet }
    } else if sys::file_has_capabilities() {
        Refusal::NoCapability { cause: Missing::Unknown }
    } else {
        Refusal::NoCapability { cause: Missing::FileCapabilities }
    }
}

/// Fails in a user namespace: user IDs differ there, and capabilities are valid only inside.
///
/// # Errors
/// [`Refusal::NoCapability`]
pub fn check_user_namespace() -> Result<(), Refusal> {
    // Without /proc, creating the map fails later.
    let namespace = std::fs::metadata("/proc/self/ns/user");
    if namespace.map_or(true, |namespace| namespace.ino() == INITIAL_USER_NAMESPACE) {
        Ok(())
    } else {
        Err(Refusal::NoCapability { cause: Missing::UserNamespace })
    }
}
