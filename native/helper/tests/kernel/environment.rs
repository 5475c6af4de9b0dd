//! The environment of the tests: a laptop and a pod connected by a veth pair, servers on both,
//! users, and the cgroups of their logins.
//!
//! The test process is in the laptop's network namespace. The kernel removes the namespaces with
//! their last process.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use crate::process::{Process, output, run};

/// The user who has the helper.
pub const USER: u32 = 4300;
/// Another user.
pub const OTHER: u32 = 4301;
/// A group for setgid programs.
pub const GROUP: u32 = 4444;

/// The pod's addresses.
pub const POD4: &str = "10.9.0.2:6443";
pub const POD6: &str = "[fd09::2]:6443";
/// The pod's IPv4 address, as an IPv4-mapped address.
pub const MAPPED: &str = "[::ffff:10.9.0.2]:6443";
/// The port of the user's listener on 127.0.0.1 and `::1`.
pub const VIA: u16 = 7001;

/// The user's slice and login session, as systemd creates them.
pub const SLICE: &str = "user.slice/user-4300.slice";
pub const SESSION: &str = "user.slice/user-4300.slice/session-1.scope";
/// Programs of the user's graphical session, such as terminals and editors.
pub const MANAGER: &str = "user.slice/user-4300.slice/user@4300.service/app.slice";
pub const OTHER_SLICE: &str = "user.slice/user-4301.slice";
pub const OTHER_SESSION: &str = "user.slice/user-4301.slice/session-2.scope";
/// A cgroup with the name of the user's slice, in the slice of another user.
pub const FALSE_SLICE: &str = "user.slice/user-4301.slice/user.slice/user-4300.slice";
pub const SERVICE: &str = "system.slice/k8s_connect_kernel.service";

/// All of these and their parents, parents first.
pub const CGROUPS: [&str; 11] = [
    "user.slice",
    SLICE,
    SESSION,
    "user.slice/user-4300.slice/user@4300.service",
    MANAGER,
    OTHER_SLICE,
    OTHER_SESSION,
    "user.slice/user-4301.slice/user.slice",
    FALSE_SLICE,
    "system.slice",
    SERVICE,
];

/// The environment of the tests.
pub struct Environment {
    /// The mount point of cgroup v2. Its root is the machine's or that of the tests.
    pub cgroups: PathBuf,
    /// A directory for the programs of the tests.
    pub directory: PathBuf,
    /// The pod's network namespace and server.
    pub pod: Process,
    /// The user's listener, which greets with `LISTENER`.
    pub listener: Process,
}

impl Environment {
    /// `root` is a cgroup below the mount point of cgroup v2, or the mount point.
    pub fn make(cgroups: &Path, root: &Path, directory: &Path) -> Self {
        let machine = cgroups == root;
        enter_namespaces(cgroups, root, machine);
        let pod = connect_pod(&directory.join("kernel"));
        let serve = RunAs::user().to_command(directory, cgroups, &directory.join("kernel"));
        let listener = start_server(serve, "LISTENER", &["127.0.0.1:7001", "[::1]:7001"]).0;
        Self { cgroups: cgroups.into(), directory: directory.into(), pod, listener }
    }

    /// The path of a cgroup.
    pub fn cgroup(&self, name: &str) -> PathBuf {
        self.cgroups.join(name)
    }

    /// The path of a file in the directory of the tests.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// This program, executable for everyone.
    pub fn plain(&self) -> PathBuf {
        self.file("kernel")
    }

    /// A setuid root copy, executable only for the user.
    pub fn setuid(&self) -> PathBuf {
        self.copy("setuid", Some((0, USER)), 0o4750)
    }

    /// A copy that is setuid to an ordinary user, executable only for the user.
    pub fn setuid_other(&self) -> PathBuf {
        self.copy("setuid_other", Some((OTHER, USER)), 0o4750)
    }

    /// A setgid copy.
    pub fn setgid(&self) -> PathBuf {
        self.copy("setgid", Some((0, GROUP)), 0o2755)
    }

    /// A copy with a file capability.
    pub fn capable(&self) -> PathBuf {
        let path = self.copy("capable", None, 0o755);
        set_file_capabilities(&path, "cap_net_raw=ep");
        path
    }

    /// A copy with a file capability above 31.
    pub fn highly_capable(&self) -> PathBuf {
        let path = self.copy("highly_capable", None, 0o755);
        set_file_capabilities(&path, "cap_perfmon=ep");
        path
    }

    /// A copy that its users cannot read.
    pub fn unreadable(&self) -> PathBuf {
        self.copy("unreadable", None, 0o711)
    }

    fn copy(&self, name: &str, owner: Option<(u32, u32)>, mode: u32) -> PathBuf {
        let path = self.file(name);
        if !path.exists() {
            install(&self.plain(), &path, 0o700);
            if let Some((uid, gid)) = owner {
                chown(&path, Some(uid), Some(gid)).expect("running as root");
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("running as root");
        }
        path
    }

    /// A command, run as this user.
    pub fn command(&self, run_as: &RunAs, program: &Path) -> Command {
        run_as.to_command(&self.directory, &self.cgroups, program)
    }

    /// A server, run as this user, and the cookies of its listeners.
    pub fn server(&self, run_as: &RunAs, name: &str, addresses: &[&str]) -> (Process, Vec<u64>) {
        start_server(self.command(run_as, &self.plain()), name, addresses)
    }
}

fn start_server(mut command: Command, name: &str, addresses: &[&str]) -> (Process, Vec<u64>) {
    let mut server = Process::start(command.arg("serve").arg(name).args(addresses));
    let cookies = addresses.iter().map(|_| server.line().parse().expect("a cookie")).collect();
    assert_eq!(server.line(), "up");
    (server, cookies)
}

fn enter_namespaces(cgroups: &Path, root: &Path, machine: bool) {
    fs::write(root.join("cgroup.procs"), "0").expect("running as root");
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    if !machine {
        flags |= CloneFlags::CLONE_NEWCGROUP;
    }
    unshare(flags).expect("running as root");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("running as root");
    if !machine {
        let kind = Some("cgroup2");
        // The kernel does not mount the same file system twice on one mount point.
        umount2(cgroups, MntFlags::MNT_DETACH).expect("running as root");
        mount(Some("none"), cgroups, kind, MsFlags::empty(), None::<&str>)
            .expect("running as root");
    }
}

fn connect_pod(this: &Path) -> Process {
    run("ip link set lo up");
    let mut pod = Command::new(this);
    let mut pod = Process::start(pod.args(["as", "netns=new", "--"]).arg(this).arg("hold"));
    assert_eq!(pod.line(), "up");
    let inside = |program: &str, words: &[&str]| {
        let mut command = Command::new(this);
        let netns = format!("netns={}", pod.pid());
        output(command.args(["as", &netns, "--", program]).args(words))
    };
    let ip = |words: &str| inside("ip", &words.split(' ').collect::<Vec<_>>());
    run(&format!("ip link add cable type veth peer name end netns {}", pod.pid()));
    run("ip addr add 10.9.0.1/24 dev cable");
    run("ip addr add fd09::1/64 dev cable nodad");
    run("ip link set cable up");
    ip("link set lo up");
    ip("addr add 10.9.0.2/24 dev end");
    ip("addr add fd09::2/64 dev end nodad");
    ip("link set end up");
    let fast_open = "/proc/sys/net/ipv4/tcp_fastopen";
    fs::write(fast_open, "3").expect("running as root");
    inside("sh", &["-c", &format!("echo 3 > {fast_open}")]);
    let mut server = Command::new(this);
    let netns = format!("netns={}", pod.pid());
    server.args(["as", &netns, "--"]).arg(this);
    start_server(server, "POD", &[POD4, POD6]).0
}

/// A user and a place, as options of the launcher.
#[derive(Clone)]
pub struct RunAs(Vec<String>);

impl RunAs {
    /// Root, in the cgroup of the tests.
    pub fn root() -> Self {
        Self(vec![])
    }

    /// The user, in the cgroup of the tests.
    pub fn user() -> Self {
        Self::root().and(&format!("user={USER}"))
    }

    /// The other user, in the cgroup of the tests.
    pub fn other() -> Self {
        Self::root().and(&format!("user={OTHER}"))
    }

    /// Appends an option.
    pub fn and(&self, option: &str) -> Self {
        let mut options = self.0.clone();
        options.push(option.to_owned());
        Self(options)
    }

    /// Inserts an option before all others.
    pub fn first(&self, option: &str) -> Self {
        let mut options = vec![option.to_owned()];
        options.extend(self.0.iter().cloned());
        Self(options)
    }

    /// In a cgroup.
    pub fn within(&self, cgroup: &str) -> Self {
        self.first(&format!("cgroup=%/{cgroup}"))
    }

    fn to_command(&self, directory: &Path, cgroups: &Path, program: &Path) -> Command {
        let cgroups = cgroups.to_str().expect("text");
        let mut command = Command::new(directory.join("kernel"));
        command.arg("as").args(self.0.iter().map(|option| option.replace('%', cgroups)));
        // A helper must not depend on variables that `cargo test` sets.
        command.arg("--").arg(program).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}

/// Copies a program and sets its mode.
pub fn install(from: &Path, to: &Path, mode: u32) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).expect("ours");
}

/// setcap(8)
pub fn set_file_capabilities(file: &Path, capabilities: &str) {
    let mut setcap = Command::new("setcap");
    output(setcap.arg(capabilities).arg(file).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
}
