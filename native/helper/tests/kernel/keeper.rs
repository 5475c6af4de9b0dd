//! The outer process: creates what outlives a process, starts the tests in an inner process, and
//! removes everything, however the inner process ends.
//!
//! The cgroups are in a new cgroup that the tests see as the root of the hierarchy, without
//! programs or helpers of others. With `--machine`, they are in the machine's root cgroup.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{SigSet, Signal, kill},
        statfs::{CGROUP2_SUPER_MAGIC, statfs},
        statvfs::{FsFlags, statvfs},
    },
    unistd::{Pid, geteuid},
};

use crate::environment::CGROUPS;

/// The mount points of cgroup v2: unified, and hybrid.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Runs the tests and cleans up.
pub fn main(arguments: &[String]) -> ExitCode {
    if !geteuid().is_root() {
        println!("permission denied: the kernel tests need root\ntest result: ok. 0 passed");
        return ExitCode::SUCCESS;
    }
    let Some(mount) = MOUNTS.into_iter().find(is_cgroup2) else {
        println!("unsupported: the kernel tests need cgroup v2\ntest result: FAILED. 0 passed");
        return ExitCode::FAILURE;
    };
    let kept = Kept::make(mount, arguments.iter().any(|argument| argument == "--machine"));
    kept.run(arguments)
}

fn is_cgroup2(path: &&str) -> bool {
    statfs(*path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

struct Kept {
    mount: &'static str,
    /// The root cgroup of the tests.
    root: PathBuf,
    /// The created cgroups, parents first.
    made: Vec<PathBuf>,
    /// A directory on a file system without `nosuid`.
    directory: PathBuf,
}

impl Kept {
    fn make(mount: &'static str, machine: bool) -> Self {
        let mut root = PathBuf::from(mount);
        let mut made = vec![];
        if !machine {
            root.push(format!("k8s_connect_kernel_{}", std::process::id()));
            fs::create_dir(&root).expect("root may make a cgroup");
            made.push(root.clone());
        }
        for name in CGROUPS {
            let path = root.join(name);
            if fs::create_dir(&path).is_ok() {
                made.push(path);
            }
        }
        Self { mount, root, made, directory: make_folder() }
    }

    fn run(&self, arguments: &[String]) -> ExitCode {
        let signals: SigSet =
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().expect("always allowed");
        let mut cases = Command::new(self.directory.join("kernel"));
        cases.arg("cases").args([
            self.mount.as_ref(),
            self.root.as_os_str(),
            self.directory.as_os_str(),
        ]);
        let child = cases.args(arguments).stdin(Stdio::null()).spawn();
        let mut child = child.expect("our own copy runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("small"));
        thread::spawn(move || {
            if signals.wait().is_ok() {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        let status = child.wait().expect("our child");
        if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for cgroup in self.made.iter().rev() {
            if let Err(error) = remove_cgroup(cgroup) {
                eprintln!("could not remove {}: {error}", cgroup.display());
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("could not remove {}: {error}", self.directory.display());
        }
    }
}

/// Kills the remaining processes in the cgroup, which is empty a moment later.
pub fn remove_cgroup(cgroup: &Path) -> io::Result<()> {
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < until => {
                thread::yield_now();
            }
            other => return other,
        }
    }
}

/// Creates a temporary directory on a file system without `nosuid`, with a copy of this program
/// that everyone can read: a process is not dumpable if its user cannot read the executable.
fn make_folder() -> PathBuf {
    let places = [env::temp_dir(), "/var/tmp".into(), "/var/lib".into(), "/".into()];
    let counts = |place: &&PathBuf| {
        statvfs(place.as_path()).is_ok_and(|found| !found.flags().contains(FsFlags::ST_NOSUID))
    };
    let place = places.iter().find(counts).expect("a file system that is not nosuid");
    let directory = place.join(format!("k8s_connect_kernel_{}", std::process::id()));
    fs::create_dir(&directory).expect("running as root");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("ours");
    let this = env::current_exe().expect("our own path");
    crate::environment::install(&this, &directory.join("kernel"), 0o755);
    directory
}
