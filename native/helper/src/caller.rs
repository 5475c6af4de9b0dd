//! Who is asking: the user whose BEAM has started this program, and that BEAM's life.

use std::{
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
};

use k8s_connect_wire::Refusal;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout},
    unistd::{Uid, geteuid, getuid},
};

use crate::sys;

/// The user whose connections may be redirected, and the process that everything ends with.
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// Can be read when the BEAM has ended.
    pub beam: OwnedFd,
}

/// This program has no need of being setuid, and would be a way to other users' connections.
///
/// # Errors
/// [`Refusal::SetUid`]
pub fn refuse_setuid() -> Result<(), Refusal> {
    if getuid() == geteuid() { Ok(()) } else { Err(Refusal::SetUid) }
}

/// Finds out who is calling: the owner of the BEAM that gives its process id. That must be our own
/// real user, or, under `sudo`, the one who has called it. No frame names a user.
///
/// # Errors
/// [`Refusal::NotYourProcess`]
pub fn identify(pid: u32, sudo_uid: Option<&str>) -> Result<Caller, Refusal> {
    let refused = |_: io::Error| Refusal::NotYourProcess { pid };
    let beam = sys::open_pidfd(pid).map_err(refused)?;
    let owner = std::fs::metadata(format!("/proc/{pid}")).map_err(refused)?.uid();
    // Still the same process: it was alive after its owner was read.
    if !is_alive(&beam) || !may_speak_for(owner, getuid(), sudo_uid) {
        return Err(Refusal::NotYourProcess { pid });
    }
    Ok(Caller { uid: owner, beam })
}

fn may_speak_for(owner: u32, real: Uid, sudo_uid: Option<&str>) -> bool {
    // Who may run this as root may not thereby have root's connections.
    match sudo_uid.filter(|_| real.is_root()) {
        Some(uid) => uid.parse() == Ok(owner),
        None => owner == real.as_raw(),
    }
}

fn is_alive(process: &OwnedFd) -> bool {
    use std::os::fd::AsFd;
    let mut descriptors = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut descriptors, PollTimeout::ZERO) == Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_speaks_for_himself_and_under_sudo_for_who_called_it() {
        let (user, root) = (Uid::from_raw(1000), Uid::from_raw(0));
        assert!(may_speak_for(1000, user, None));
        assert!(may_speak_for(0, root, None));
        assert!(may_speak_for(1000, root, Some("1000")));

        assert!(!may_speak_for(0, root, Some("1000")));
        assert!(!may_speak_for(0, user, None));
        assert!(!may_speak_for(1001, user, Some("1001")));
        assert!(!may_speak_for(1001, root, Some("1000")));
        assert!(!may_speak_for(1001, root, Some("nonsense")));
        assert!(!may_speak_for(1001, root, None));
    }

    #[test]
    fn a_process_that_is_not_there_is_nobodys() {
        assert!(identify(std::process::id(), None).is_ok());
        for pid in [0, u32::MAX, 4_194_305] {
            assert!(matches!(identify(pid, None), Err(Refusal::NotYourProcess { .. })), "{pid}");
        }
    }
}
