//! What every row stands on: a laptop, a pod and a cable between them, servers on both, users, and
//! the cgroups of their logins.
//!
//! The rows' own process is in the laptop's network namespace. The namespaces end with the
//! processes in them.

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

/// Has the helper.
pub const USER: u32 = 4300;
/// Has nothing to do with it.
pub const OTHER: u32 = 4301;
/// A group of setgid programs.
pub const GROUP: u32 = 4444;

/// The pod.
pub const POD4: &str = "10.9.0.2:6443";
pub const POD6: &str = "[fd09::2]:6443";
/// The pod's IPv4 address on an IPv6 socket.
pub const MAPPED: &str = "[::ffff:10.9.0.2]:6443";
/// The port of the user's listener on 127.0.0.1 and `::1`.
pub const VIA: u16 = 7001;

/// The user's login, as systemd would make it.
pub const SLICE: &str = "user.slice/user-4300.slice";
pub const SESSION: &str = "user.slice/user-4300.slice/session-1.scope";
/// Programs of the user's graphical session: terminals and editors.
pub const MANAGER: &str = "user.slice/user-4300.slice/user@4300.service/app.slice";
pub const OTHER_SLICE: &str = "user.slice/user-4301.slice";
pub const OTHER_SESSION: &str = "user.slice/user-4301.slice/session-2.scope";
/// Named like the user's slice, but in another user's.
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

/// See the module.
pub struct Ground {
    /// Where cgroup2 is mounted; its root is the machine's, or the rows' own.
    pub cgroups: PathBuf,
    /// For programs of the rows.
    pub folder: PathBuf,
    /// Kept for their `Drop`.
    pub pod: Process,
    /// Greets as `LISTENER`.
    pub listener: Process,
}

impl Ground {
    /// `root` is a cgroup below the mount of cgroup2, or that mount itself.
    pub fn make(cgroups: &Path, root: &Path, folder: &Path) -> Self {
        let machine = cgroups == root;
        enter_namespaces(cgroups, root, machine);
        let pod = lay_cable(&folder.join("kernel"));
        let serve = Who::user().to_command(folder, cgroups, &folder.join("kernel"));
        let listener = start_server(serve, "LISTENER", &["127.0.0.1:7001", "[::1]:7001"]).0;
        Self { cgroups: cgroups.into(), folder: folder.into(), pod, listener }
    }

    /// The path of a cgroup.
    pub fn cgroup(&self, name: &str) -> PathBuf {
        self.cgroups.join(name)
    }

    /// The path of a file in the rows' folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// This program, for everybody.
    pub fn plain(&self) -> PathBuf {
        self.file("kernel")
    }

    /// A copy that is setuid root, for the user alone.
    pub fn setuid(&self) -> PathBuf {
        self.copy("setuid", Some((0, USER)), 0o4750)
    }

    /// A copy that is setuid to a user without any capability, for the user alone.
    pub fn setuid_other(&self) -> PathBuf {
        self.copy("setuid_other", Some((OTHER, USER)), 0o4750)
    }

    /// A copy that is setgid.
    pub fn setgid(&self) -> PathBuf {
        self.copy("setgid", Some((0, GROUP)), 0o2755)
    }

    /// A copy with file capabilities.
    pub fn capable(&self) -> PathBuf {
        let path = self.copy("capable", None, 0o755);
        set_file_capabilities(&path, "cap_net_raw=ep");
        path
    }

    /// A copy with a file capability of the upper half.
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
                chown(&path, Some(uid), Some(gid)).expect("root may");
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("root may");
        }
        path
    }

    /// A command of somebody's.
    pub fn command(&self, who: &Who, program: &Path) -> Command {
        who.to_command(&self.folder, &self.cgroups, program)
    }

    /// A server of somebody's, and the cookies of its listeners.
    pub fn server(&self, who: &Who, name: &str, addresses: &[&str]) -> (Process, Vec<u64>) {
        start_server(self.command(who, &self.plain()), name, addresses)
    }
}

fn start_server(mut command: Command, name: &str, addresses: &[&str]) -> (Process, Vec<u64>) {
    let mut server = Process::start(command.arg("serve").arg(name).args(addresses));
    let cookies = addresses.iter().map(|_| server.line().parse().expect("a cookie")).collect();
    assert_eq!(server.line(), "up");
    (server, cookies)
}

fn enter_namespaces(cgroups: &Path, root: &Path, machine: bool) {
    fs::write(root.join("cgroup.procs"), "0").expect("root may");
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    if !machine {
        flags |= CloneFlags::CLONE_NEWCGROUP;
    }
    unshare(flags).expect("root may");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("root may");
    if !machine {
        let kind = Some("cgroup2");
        // The same file system is not mounted twice at one place.
        umount2(cgroups, MntFlags::MNT_DETACH).expect("root may");
        mount(Some("none"), cgroups, kind, MsFlags::empty(), None::<&str>).expect("root may");
    }
}

fn lay_cable(this: &Path) -> Process {
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
    fs::write(fast_open, "3").expect("root may");
    inside("sh", &["-c", &format!("echo 3 > {fast_open}")]);
    let mut server = Command::new(this);
    let netns = format!("netns={}", pod.pid());
    server.args(["as", &netns, "--"]).arg(this);
    start_server(server, "POD", &[POD4, POD6]).0
}

/// Somebody, as options of the launcher.
#[derive(Clone)]
pub struct Who(Vec<String>);

impl Who {
    /// Root, where the rows are.
    pub fn root() -> Self {
        Self(vec![])
    }

    /// The user, where the rows are.
    pub fn user() -> Self {
        Self::root().and(&format!("user={USER}"))
    }

    /// The other user, where the rows are.
    pub fn other() -> Self {
        Self::root().and(&format!("user={OTHER}"))
    }

    /// With one more option.
    pub fn and(&self, option: &str) -> Self {
        let mut options = self.0.clone();
        options.push(option.to_owned());
        Self(options)
    }

    /// With one more option, before all others.
    pub fn first(&self, option: &str) -> Self {
        let mut options = vec![option.to_owned()];
        options.extend(self.0.iter().cloned());
        Self(options)
    }

    /// In a cgroup.
    pub fn within(&self, cgroup: &str) -> Self {
        self.first(&format!("cgroup=%/{cgroup}"))
    }

    fn to_command(&self, folder: &Path, cgroups: &Path, program: &Path) -> Command {
        let cgroups = cgroups.to_str().expect("text");
        let mut command = Command::new(folder.join("kernel"));
        command.arg("as").args(self.0.iter().map(|option| option.replace('%', cgroups)));
        // What `cargo test` sets is not for a helper.
        command.arg("--").arg(program).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}

/// A copy of a program with a mode.
pub fn install(from: &Path, to: &Path, mode: u32) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).expect("ours");
}

/// setcap(8)
pub fn set_file_capabilities(file: &Path, capabilities: &str) {
    let mut setcap = Command::new("setcap");
    output(setcap.arg(capabilities).arg(file).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
}
