//! The user's slice, `/user.slice/user-UID.slice`: the cgroup of all login sessions of the user, to
//! which the programs are attached. If they were attached to the root cgroup, they would slow down
//! all users, and one user could use up the limit of 64 programs.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use k8s_connect_wire::{MAX_HELPERS, Refusal};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::{refusal::kernel, sys};

/// The mount points of cgroup v2: unified, and hybrid.
const MOUNT_POINTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// `BPF_F_ALLOW_OVERRIDE`: a program attached to a descendant cgroup replaces this program.
const ALLOW_OVERRIDE: u32 = 1;
/// `BPF_F_ALLOW_MULTI`: more programs can be attached to the same cgroup and to descendants.
const ALLOW_MULTI: u32 = 2;

/// A user's slice.
#[derive(Debug)]
pub struct Slice {
    directory: File,
    mount: PathBuf,
    path: PathBuf,
}

impl Slice {
    /// The slice of `uid`. This process must be in it: not in a container, nor in a session of
    /// another user.
    ///
    /// # Errors
    /// [`Refusal::NoCgroup2`], [`Refusal::NoUserSlice`], [`Refusal::Kernel`]
    pub fn of(uid: u32) -> Result<Self, Refusal> {
        let mount = MOUNT_POINTS.iter().map(Path::new).find(|path| is_cgroup2(path));
        let mount = mount.ok_or(Refusal::NoCgroup2)?.to_owned();
        let groups = fs::read("/proc/self/cgroup").map_err(kernel("reading /proc/self/cgroup"))?;
        let groups = String::from_utf8_lossy(&groups);
        let cgroup = cgroup2(&groups).ok_or(Refusal::NoCgroup2)?;
        let slice = format!("user.slice/user-{uid}.slice");
        let refused = || Refusal::NoUserSlice { cgroup: cgroup.into(), uid };
        if !Path::new(cgroup).starts_with(Path::new("/").join(&slice)) {
            return Err(refused());
        }
        let path = mount.join(slice);
        let directory = File::open(&path).map_err(|_| refused())?;
        Ok(Self { directory, mount, path })
    }

    /// The slice's directory.
    #[must_use]
    pub fn directory(&self) -> impl AsFd {
        &self.directory
    }

    /// The path of the slice, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Checks the programs that are already attached: not too many to the slice, and none to an
    /// ancestor that ours would disable. The kernel allows us to attach below a program with
    /// `BPF_F_ALLOW_OVERRIDE`, which then would no longer run for the user's processes.
    ///
    /// # Errors
    /// [`Refusal::TooMany`], [`Refusal::OverrideProgram`], [`Refusal::ExclusiveProgram`],
    /// [`Refusal::Kernel`]
    pub fn check(&self, attach_types: [u32; 2]) -> Result<(), Refusal> {
        let failed = kernel("querying the programs of a cgroup");
        for attach_type in attach_types {
            let (count, _) =
                sys::query_programs(self.directory.as_fd(), attach_type).map_err(&failed)?;
            if count > MAX_HELPERS {
                return Err(Refusal::TooMany { limit: MAX_HELPERS });
            }
        }
        for parent in self.path.ancestors().skip(1) {
            let directory = File::open(parent).map_err(&failed)?;
            for attach_type in attach_types {
                let (count, flags) =
                    sys::query_programs(directory.as_fd(), attach_type).map_err(&failed)?;
                let cgroup = parent.display().to_string();
                match (count, flags & (ALLOW_MULTI | ALLOW_OVERRIDE)) {
                    (1.., 0) => return Err(Refusal::ExclusiveProgram { cgroup }),
                    (1.., ALLOW_OVERRIDE) => return Err(Refusal::OverrideProgram { cgroup }),
                    _ => {}
                }
            }
            if parent == self.mount {
                break;
            }
        }
        Ok(())
    }
}

fn is_cgroup2(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// The cgroup v2 path in `/proc/self/cgroup`.
fn cgroup2(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The refusal for an error when attaching.
#[must_use]
pub fn attach_refusal(error: &io::Error, slice: &Slice) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EPERM) => Refusal::ExclusiveProgram { cgroup: slice.name() },
        // The limit of the kernel, which programs of others count towards.
        Some(libc::E2BIG) => Refusal::TooMany { limit: MAX_HELPERS },
        _ => Refusal::NoBpf { step: "attaching to the cgroup".into(), problem: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_is_that_of_cgroup2() {
        let hybrid = "9:name=systemd:/user.slice\n4:memory:/a\n0::/user.slice/user-1.slice\n";
        assert_eq!(cgroup2(hybrid), Some("/user.slice/user-1.slice"));
        assert_eq!(cgroup2("4:memory:/user.slice/user-1.slice\n"), None);
    }
}
