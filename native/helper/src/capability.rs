//! `CAP_NET_ADMIN`: what it is for, when it is on, and what may have kept it from us.
//!
//! It is needed for the netfilter table, the TUN device with its routes, and to end connections.
//! It stays in the permitted set for as long as the program runs, as redirects come and go, and is
//! effective only inside of [`with`].

use k8s_connect_wire::{Missing, Refusal};
use nix::sys::{prctl, statvfs};

use crate::sys;

/// Runs `work` with the capability on.
///
/// # Errors
/// What `work` says, or that the capability could not be turned on or off.
pub fn with<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    let problem = |error: std::io::Error| Refusal::Kernel {
        step: "changing the capabilities".into(),
        problem: error.to_string(),
    };
    sys::use_net_admin(true).map_err(problem)?;
    let result = work();
    sys::use_net_admin(false).map_err(problem)?;
    result
}

/// Whether there is one to use.
///
/// # Errors
/// [`Refusal::NotPermitted`]
pub fn check() -> Result<(), Refusal> {
    if sys::has_net_admin().unwrap_or(false) {
        Ok(())
    } else {
        Err(Refusal::NotPermitted { why: missing() })
    }
}

fn missing() -> Missing {
    let nosuid = statvfs::statvfs("/proc/self/exe")
        .is_ok_and(|fs| fs.flags().contains(statvfs::FsFlags::ST_NOSUID));
    if !sys::file_has_capability() {
        Missing::FileCapability
    } else if prctl::get_no_new_privs().unwrap_or(false) {
        Missing::NoNewPrivs
    } else if !sys::bounding_set_has_net_admin() {
        Missing::BoundingSet
    } else if nosuid {
        Missing::NoSuid
    } else {
        Missing::Unknown
    }
}
