//! The user's own slice, `/user.slice/user-UID.slice`: the cgroup with all processes of the user's
//! logins, where the programs are attached. At the root cgroup they would cost every user time and
//! one of 64 places, and one user could take all of these.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use k8s_connect_wire::{MAX_HELPERS, Refusal};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::{refusal::kernel, sys};

/// Alone, or beside the older hierarchies.
const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// `BPF_F_ALLOW_MULTI`: others are allowed beside the program, and below.
const ALLOW_MULTI: u32 = 2;

/// A user's slice.
#[derive(Debug)]
pub struct Slice {
    directory: File,
    mount: PathBuf,
    path: PathBuf,
}

impl Slice {
    /// The slice of `uid`, in which this process must be: otherwise programs of a container, or of
    /// another user's session, would be meant.
    ///
    /// # Errors
    /// [`Refusal::NoCgroup2`], [`Refusal::NoUserSlice`], [`Refusal::Kernel`]
    pub fn of(uid: u32) -> Result<Self, Refusal> {
        let mount = PLACES.iter().map(Path::new).find(|place| is_cgroup2(place));
        let mount = mount.ok_or(Refusal::NoCgroup2)?.to_owned();
        let groups =
            fs::read_to_string("/proc/self/cgroup").map_err(kernel("reading the own cgroup"))?;
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

    /// The slice's path, for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Looks at what is attached, after the own programs were: not too many here, and nothing above
    /// that is now switched off below. A kernel lets us attach beneath a program that allows itself
    /// to be overridden, which would then not run for the user's processes any more.
    ///
    /// # Errors
    /// [`Refusal::TooMany`], [`Refusal::WouldHide`], [`Refusal::Kernel`]
    pub fn check(&self, attach_types: [u32; 2]) -> Result<(), Refusal> {
        let failed = kernel("asking for the programs of a cgroup");
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
                if count > 0 && flags & ALLOW_MULTI == 0 {
                    return Err(Refusal::WouldHide { cgroup: parent.display().to_string() });
                }
            }
            if parent == self.mount {
                break;
            }
        }
        Ok(())
    }
}

fn is_cgroup2(place: &Path) -> bool {
    statfs(place).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Of `/proc/self/cgroup` the line of cgroup2.
fn cgroup2(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// What an error at attaching means.
#[must_use]
pub fn attach_refusal(error: &io::Error, slice: &Slice) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EPERM) => Refusal::ExclusiveProgram { cgroup: slice.name() },
        // The kernel's own limit, which other programs can reach.
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
