//! `as OPTION… -- PROGRAM ARGUMENT…`: applies the options (users, cgroups, namespaces, mounts) in
//! order and executes the program.

use std::{
    env, fs,
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::prctl,
    unistd::{Gid, Uid, setfsuid, setgroups, setresgid, setresuid},
};

use crate::sys;

/// The descriptor of the socket that `socket=` creates.
pub const HANDED: i32 = 50;

/// Returns only an error.
pub fn main(arguments: &[String]) -> String {
    let Some(end) = arguments.iter().position(|word| word == "--") else {
        return "no program".to_owned();
    };
    for option in &arguments[..end] {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        apply(name, value);
    }
    let [program, rest @ ..] = &arguments[end + 1..] else {
        return "no program".to_owned();
    };
    let error = Command::new(program).args(rest).exec();
    format!("{program}: {error}")
}

fn apply(name: &str, value: &str) {
    match name {
        "cgroup" => fs::write(format!("{value}/cgroup.procs"), "0").expect(value),
        "cgroupns" => unshare(CloneFlags::CLONE_NEWCGROUP).expect("a cgroup namespace"),
        "netns" => enter_network(value),
        "user" => become_user(value),
        "socket" => make_socket(value),
        "userns" => enter_user_namespace(value),
        "rootuserns" => enter_roots_user_namespace(value),
        "subuserns" => become_subordinate(value),
        "over" => bind(value),
        "nnp" => prctl::set_no_new_privs().expect("always allowed"),
        "keepcaps" => sys::keep_capabilities().expect("always allowed"),
        "ambient" => make_ambient(number(value)),
        "bounding" => sys::drop_bounding(number(value)).expect("running as root"),
        "hide" => over(value, "tmpfs", MsFlags::empty()),
        "nosuid" => over(value, "tmpfs", MsFlags::MS_NOSUID),
        "cgroup2" => over(value, "cgroup2", MsFlags::empty()),
        "readonly" => make_read_only(value),
        "copy" => copy(value),
        _ => panic!("no such option: {name}"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect(text)
}

fn enter_network(value: &str) {
    if value == "new" {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
    } else {
        let file = fs::File::open(format!("/proc/{value}/ns/net")).expect(value);
        setns(file, CloneFlags::CLONE_NEWNET).expect("its network namespace");
    }
}

fn become_user(value: &str) {
    let (uid, gid) = value.split_once(':').unwrap_or((value, value));
    let uid = Uid::from_raw(uid.parse().expect(uid));
    let gid = Gid::from_raw(gid.parse().expect(gid));
    setgroups(&[]).expect("running as root");
    setresgid(gid, gid, gid).expect("running as root");
    setresuid(uid, uid, uid).expect("running as root");
}

/// Creates a TCP socket of another user, with the descriptor [`HANDED`].
fn make_socket(owner: &str) {
    let before = setfsuid(Uid::from_raw(owner.parse().expect(owner)));
    let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM, 0).expect("a socket");
    setfsuid(before);
    sys::keep_as(&socket, HANDED).expect("a number");
}

/// `userns=INSIDE`: creates a user namespace and becomes the user INSIDE in it.
pub fn enter_user_namespace(inside: &str) {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    unshare(CloneFlags::CLONE_NEWUSER).expect("a user namespace");
    fs::write("/proc/self/setgroups", "deny").expect("always allowed");
    fs::write("/proc/self/uid_map", format!("{inside} {uid} 1")).expect("one's own uid");
    fs::write("/proc/self/gid_map", format!("{inside} {gid} 1")).expect("one's own gid");
}

/// `rootuserns=USER`: a user namespace owned by root, with the same user inside as outside.
fn enter_roots_user_namespace(user: &str) {
    let mapper = start_mapper(&format!("{user} {user} 1"));
    unshare(CloneFlags::CLONE_NEWUSER).expect("a user namespace");
    finish_map(mapper);
    become_within(user.parse().expect(user));
}

/// `subuserns=USER`: a user namespace owned by the user, as a subordinate UID of the user.
fn become_subordinate(user: &str) {
    let mapper = start_mapper(&format!("0 {user} 1\n1 100000 1"));
    become_user(user);
    unshare(CloneFlags::CLONE_NEWUSER).expect("a user namespace");
    finish_map(mapper);
    become_within(1);
}

fn become_within(id: u32) {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    setresgid(gid, gid, gid).expect("root of the namespace");
    setresuid(uid, uid, uid).expect("root of the namespace");
}

/// Starts a process outside of the future user namespace, which writes its maps.
fn start_mapper(map: &str) -> Child {
    let this = env::current_exe().expect("our own path");
    let mut mapper = Command::new(this);
    mapper.args(["map", &std::process::id().to_string(), map]);
    mapper.stdin(Stdio::piped()).spawn().expect("it starts")
}

fn finish_map(mut mapper: Child) {
    mapper.stdin.take().expect("a pipe").write_all(b"now\n").expect("it reads");
    assert!(mapper.wait().expect("our child").success());
}

/// `map PID MAP`: writes the UID and GID maps of a user namespace from outside.
pub fn map(arguments: &[String]) {
    let [pid, text] = arguments else { panic!("map PID MAP") };
    std::io::stdin().read_line(&mut String::new()).expect("a line");
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{map}"), text).expect("running as root");
    }
}

/// `over=FILE:TARGET`: bind-mounts another file over a file, for this process only.
fn bind(value: &str) {
    let (file, place) = value.split_once(':').expect("two paths");
    own_mounts();
    mount(Some(file), place, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect(place);
}

fn make_ambient(capability: u64) {
    sys::set_capabilities(1 << capability).expect("it was kept");
    sys::raise_ambient(capability).expect("it is inheritable");
}

fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("running as root");
}

/// Mounts a new file system over a directory, for this process only.
fn over(directory: &str, kind: &str, flags: MsFlags) {
    own_mounts();
    mount(Some("none"), directory, Some(kind), flags, None::<&str>).expect(directory);
}

fn make_read_only(directory: &str) {
    own_mounts();
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, directory, None::<&str>, flags, None::<&str>).expect(directory);
}

/// `copy=FROM:TO`: copies the helper with its file capabilities.
fn copy(value: &str) {
    let (from, to) = value.split_once(':').expect("two paths");
    fs::copy(from, to).expect(from);
    crate::environment::set_file_capabilities(Path::new(to), crate::helper::CAPABILITIES);
}
