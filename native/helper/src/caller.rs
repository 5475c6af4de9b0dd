//! The user whose connections are redirected. Input cannot change it.

use k8s_connect_wire::Refusal;
use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};

use crate::refusal::kernel;

/// A user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user's id.
    pub uid: u32,
    /// The id of the user's primary group.
    pub gid: u32,
    /// Whether this process runs as root and has to switch to the user.
    pub by_sudo: bool,
}

/// `SUDO_UID` and `SUDO_GID`.
pub type Sudo = [Option<String>; 2];

/// The user who runs the helper: the real user, or under sudo the user who called sudo. Not root
/// itself: ptrace of root's processes requires capabilities. `doas` and `pkexec` are not supported,
/// because they do not set `SUDO_UID`.
///
/// # Errors
/// [`Refusal::SetUid`], [`Refusal::NoCaller`]
pub fn identify(sudo: &Sudo) -> Result<Caller, Refusal> {
    let (users, groups) = (
        getresuid().map_err(kernel("reading the user ids"))?,
        getresgid().map_err(kernel("reading the group ids"))?,
    );
    let one_user = users.real == users.effective && users.real == users.saved;
    let one_group = groups.real == groups.effective && groups.real == groups.saved;
    if !one_user || !one_group {
        return Err(Refusal::SetUid);
    }
    of(users.real, groups.real, sudo)
}

fn of(uid: Uid, gid: Gid, sudo: &Sudo) -> Result<Caller, Refusal> {
    if !uid.is_root() {
        return Ok(Caller { uid: uid.as_raw(), gid: gid.as_raw(), by_sudo: false });
    }
    let [uid, gid] = sudo.each_ref().map(|id| id.as_deref().and_then(number));
    match (uid, gid) {
        (Some(uid @ 1..=MAX_ID), Some(gid @ 0..=MAX_ID)) => Ok(Caller { uid, gid, by_sudo: true }),
        _ => Err(Refusal::NoCaller),
    }
}

/// Accepts only digits, as sudo writes them.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The kernel interprets the next number, -1, as "no change".
const MAX_ID: u32 = u32::MAX - 1;

impl Caller {
    /// Permanently switches to the user, who can then also kill the helper.
    ///
    /// # Errors
    /// [`Refusal::Kernel`]
    pub fn become_user(&self) -> Result<(), Refusal> {
        let failed = kernel("switching to the user who called sudo");
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setgroups(&[]).map_err(&failed)?;
        setresgid(gid, gid, gid).map_err(&failed)?;
        setresuid(uid, uid, uid).map_err(&failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(uid: u32, sudo: [Option<&str>; 2]) -> Result<Caller, Refusal> {
        of(Uid::from_raw(uid), Gid::from_raw(uid), &sudo.map(|id| id.map(str::to_owned)))
    }

    #[test]
    fn a_user_is_the_caller_whatever_the_environment_says() {
        let caller = Caller { uid: 1000, gid: 1000, by_sudo: false };
        assert_eq!(called(1000, [None, None]), Ok(caller));
        assert_eq!(called(1000, [Some("0"), Some("0")]), Ok(caller));
    }

    #[test]
    fn root_needs_sudo_variables_of_another_user() {
        let caller = Caller { uid: 1000, gid: 100, by_sudo: true };
        assert_eq!(called(0, [Some("1000"), Some("100")]), Ok(caller));
        for bad in [
            [None, None],
            [Some("1000"), None],
            [None, Some("100")],
            [Some("0"), Some("0")],
            [Some("dev"), Some("100")],
            [Some("-1"), Some("100")],
            [Some("+1000"), Some("100")],
            [Some("4294967295"), Some("100")],
            [Some("1000"), Some("4294967295")],
            [Some("4294967296"), Some("100")],
            [Some(""), Some("")],
        ] {
            assert_eq!(called(0, bad), Err(Refusal::NoCaller), "{bad:?}");
        }
    }
}
