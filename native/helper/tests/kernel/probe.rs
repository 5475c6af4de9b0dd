//! `probe OPTION… ADDRESS`: makes one connection, with options for the kind of process and of
//! connection. Prints `ready`, waits for a line, connects, prints the result, and waits for end of
//! file.

use std::{
    env,
    io::{self, IoSliceMut, Read},
    net::SocketAddr,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, poll},
    sys::{
        prctl,
        socket::{
            ControlMessageOwned, MsgFlags, SockaddrStorage, bind, connect, getpeername,
            getsockname, getsockopt, recv, recvmsg, send, setsockopt, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
    unistd::{
        Gid, Uid, getegid, geteuid, getgid, getuid, setegid, seteuid, setfsgid, setfsuid,
        setresgid, setresuid,
    },
};

use crate::{
    launcher::{self, HANDED},
    sys::{self, Ring, Submission},
};

/// Milliseconds: longer than any successful connection takes.
const TIMEOUT: i64 = 10_000;
const IMPATIENCE: i64 = 700;

struct Plan {
    to: SocketAddr,
    options: Vec<(String, String)>,
}

impl Plan {
    fn parse(arguments: &[String]) -> Self {
        let (to, options) = arguments.split_last().expect("an address");
        let pair = |option: &String| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            (name.to_owned(), value.to_owned())
        };
        Self { to: to.parse().expect(to), options: options.iter().map(pair).collect() }
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.value(name).map(|value| value.parse().expect(value))
    }
}

pub fn main(arguments: &[String]) {
    if arguments.first().is_some_and(|word| word == "equal-gids") {
        return make_gids_equal(&arguments[1..]);
    }
    let plan = Plan::parse(arguments);
    become_kind(&plan);
    let received = plan.has("received").then(receive_socket);
    println!("ready");
    let mut times = plan.number("times").unwrap_or(1);
    let mut received = received;
    while times > 0 && read_line() {
        match attempt(&plan, received.take()) {
            Ok(said) => println!("{said}"),
            Err(error) => println!("error {}", name(&error)),
        }
        times -= 1;
    }
    while read_line() {}
}

fn name(error: &io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |raw| format!("{:?}", Errno::from_raw(raw)))
}

/// Reads a line from stdin byte by byte, because a descriptor may follow.
fn read_line() -> bool {
    let mut byte = [0];
    loop {
        match io::stdin().lock().read(&mut byte) {
            Ok(1) if byte[0] == b'\n' => return true,
            Ok(1) => {}
            _ => return false,
        }
    }
}

/// A setgid program that sets all its GIDs to the group and executes itself again.
fn make_gids_equal(rest: &[String]) {
    let group = getegid();
    setresgid(group, group, group).expect("its own group");
    let this = env::current_exe().expect("our own path");
    panic!("{}", Command::new(this).arg("probe").args(rest).exec());
}

fn become_kind(plan: &Plan) {
    for (option, value) in &plan.options {
        match option.as_str() {
            "seteuid" => {
                seteuid(Uid::from_raw(value.parse().expect(value))).expect("running as root");
            }
            "setfsuid" => drop(setfsuid(Uid::from_raw(value.parse().expect(value)))),
            "drop-euid" => seteuid(getuid()).expect("the real ID"),
            "uids" => {
                let [real, effective, saved] = three(value).map(Uid::from_raw);
                setresuid(real, effective, saved).expect("IDs that the process has");
            }
            "gids" => {
                let [real, effective, saved] = three(value).map(Gid::from_raw);
                setresgid(real, effective, saved).expect("IDs that the process has");
            }
            "setfsgid" => drop(setfsgid(Gid::from_raw(value.parse().expect(value)))),
            "keep-caps" => sys::keep_capabilities().expect("always allowed"),
            "only-setid" => sys::set_capabilities(SETGID | SETUID).expect("they were kept"),
            "drop-egid" => setegid(getgid()).expect("the real ID"),
            "become" => become_user(value.parse().expect(value)),
            "drop-caps" => sys::set_capabilities(0).expect("always allowed"),
            "userns" => launcher::enter_user_namespace(value),
            "dumpable" => prctl::set_dumpable(value == "1").expect("always allowed"),
            _ => {}
        }
    }
    sys::allow_any_tracer();
}

const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;

/// Real, effective and saved ID.
fn three(value: &str) -> [u32; 3] {
    let ids: Vec<_> = value.split(':').map(|id| id.parse().expect(id)).collect();
    ids.try_into().expect("three")
}

/// Sets all UIDs, without exec.
fn become_user(user: u32) {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    nix::unistd::setgroups(&[]).expect("running as root");
    setresgid(gid, gid, gid).expect("running as root");
    setresuid(uid, uid, uid).expect("running as root");
}

/// Receives a socket over stdin.
fn receive_socket() -> OwnedFd {
    let mut byte = [0];
    let mut space = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let stdin = io::stdin().as_raw_fd();
    let message =
        recvmsg::<()>(stdin, &mut parts, Some(&mut space), MsgFlags::empty()).expect("a message");
    let first = message.cmsgs().expect("whole").next();
    let Some(ControlMessageOwned::ScmRights(sockets)) = first else { panic!("no socket") };
    sys::own(sockets[0])
}

fn attempt(plan: &Plan, received: Option<OwnedFd>) -> io::Result<String> {
    if let Some(user) = plan.number("personality") {
        return with_registered_credentials(plan, user);
    }
    let socket = match received {
        Some(socket) => socket,
        None if plan.has("inherited") => sys::own(HANDED),
        None => new_socket(plan)?,
    };
    prepare(plan, &socket)?;
    match connected(plan, &socket) {
        Ok(()) => talk(plan, &socket),
        Err(error) => Err(error),
    }
}

fn new_socket(plan: &Plan) -> io::Result<OwnedFd> {
    let family = if plan.to.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let kind = if plan.has("udp") { libc::SOCK_DGRAM } else { libc::SOCK_STREAM };
    sys::socket(family, kind, if plan.has("mptcp") { libc::IPPROTO_MPTCP } else { 0 })
}

fn prepare(plan: &Plan, socket: &OwnedFd) -> io::Result<()> {
    let patience = if plan.has("impatient") { IMPATIENCE } else { TIMEOUT };
    let patience = TimeVal::milliseconds(patience);
    setsockopt(socket, sockopt::SendTimeout, &patience)?;
    setsockopt(socket, sockopt::ReceiveTimeout, &patience)?;
    if plan.has("v6only") {
        setsockopt(socket, sockopt::Ipv6V6Only, &true)?;
    }
    if let Some(device) = plan.value("device") {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
        sys::set_bytes(socket.as_fd(), level, option, device.as_bytes())?;
    }
    if let Some(address) = plan.value("bind") {
        let address: SocketAddr = address.parse().expect(address);
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    }
    if plan.has("fastopen-connect") {
        let option = libc::TCP_FASTOPEN_CONNECT;
        sys::set_option(socket.as_fd(), libc::IPPROTO_TCP, option, 1)?;
    }
    Ok(())
}

fn connected(plan: &Plan, socket: &OwnedFd) -> io::Result<()> {
    if plan.has("fastopen") {
        return sys::send_to(socket.as_fd(), b"hi", libc::MSG_FASTOPEN, plan.to);
    }
    let ring = plan.options.iter().find_map(|(name, _)| submission(name));
    if let Some(submission) = ring {
        return Ring::new(submission)?.connect(socket.as_fd(), plan.to, 0);
    }
    if plan.has("nonblocking") {
        return connect_and_poll(plan, socket);
    }
    Ok(connect(socket.as_raw_fd(), &SockaddrStorage::from(plan.to))?)
}

fn submission(name: &str) -> Option<Submission> {
    match name {
        "uring" => Some(Submission::Caller),
        "uring-worker" => Some(Submission::Worker),
        "uring-poller" => Some(Submission::Poller),
        _ => None,
    }
}

fn connect_and_poll(plan: &Plan, socket: &OwnedFd) -> io::Result<()> {
    fcntl(socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(plan.to)) {
        Err(Errno::EINPROGRESS) => {}
        other => other?,
    }
    let mut writable = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut writable, 5000_u16)? == 0 {
        return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
    }
    let error = getsockopt(socket, sockopt::SocketError)?;
    fcntl(socket, FcntlArg::F_SETFL(OFlag::empty()))?;
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// A daemon of root that connects a user's socket with that user's registered credentials.
fn with_registered_credentials(plan: &Plan, user: u32) -> io::Result<String> {
    let submission = if plan.has("uring-worker") { Submission::Worker } else { Submission::Caller };
    let ring = Ring::new(submission)?;
    let made = thread::scope(|scope| {
        scope
            .spawn(|| {
                sys::this_thread_becomes(user)?;
                Ok::<_, io::Error>((ring.register_personality()?, new_socket(plan)?))
            })
            .join()
            .expect("the thread does not panic")
    });
    let (personality, socket) = made?;
    // Changing the credentials has cleared the dumpable flag.
    prctl::set_dumpable(true)?;
    assert!(geteuid().is_root(), "only the thread is somebody else");
    prepare(plan, &socket)?;
    ring.connect(socket.as_fd(), plan.to, personality)?;
    talk(plan, &socket)
}

/// The greeting, and the addresses of both ends.
fn talk(plan: &Plan, socket: &OwnedFd) -> io::Result<String> {
    if plan.has("fastopen-connect") || plan.has("udp") {
        send(socket.as_raw_fd(), b"hi", MsgFlags::empty())?;
    }
    let mut bytes = [0; 200];
    let count = recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
    let said = String::from_utf8_lossy(&bytes[..count]).trim().to_owned();
    let peer = getpeername::<SockaddrStorage>(socket.as_raw_fd())?;
    let local = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    Ok(format!("{said} peer {peer} local {local}"))
}
