//! Whether the programs do what they are for, tried before anybody uses them: a kernel may load a
//! program and mean something else by a structure's member. An address of the loopback network at
//! which nothing listens is redirected to a listener of ours, and then connected to by
//!
//! 1. a process that has capabilities, and could be traced otherwise: must not be redirected;
//! 2. a process without any: must be redirected;
//! 3. a process that its user may not trace (this one): must not be redirected.
//!
//! Nothing leaves the machine, whatever the programs do.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Read, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use k8s_connect_wire::Refusal;
use nix::{
    sys::{
        prctl,
        socket::{
            AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, bind,
            getsockname, socket,
        },
    },
    unistd::dup2_stdin,
};

use crate::{
    caller::Caller,
    capability,
    hook::{Hook, Listener},
    refusal::kernel,
    sys::{self, Cookie},
};

/// The answer comes at once, from the kernel itself.
const TIMEOUT: Duration = Duration::from_secs(1);

// What the child found, a bit each.
const FAILED: u8 = 1;
const CAPABLE_LED: u8 = 2;
const TRACEABLE_NOT_LED: u8 = 4;

/// The process that connects as somebody whom the user may trace. It is started before there is
/// anything to hold: when the helper is killed meanwhile, no descriptor of the programs is left.
pub struct Tester {
    child: sys::Child,
    to_child: io::PipeWriter,
}

impl Tester {
    /// Starts it, with the capabilities that this process has.
    ///
    /// # Errors
    /// [`Refusal::Kernel`]
    pub fn start(caller: Caller) -> Result<Self, Refusal> {
        let failed = kernel("starting the test of the programs");
        let (from_parent, to_child) = io::pipe().map_err(&failed)?;
        let child = sys::fork(|| in_child(caller, &from_parent).unwrap_or(FAILED));
        Ok(Self { child: child.map_err(&failed)?, to_child })
    }

    /// Tries the programs, and gives up the capabilities on the way.
    ///
    /// # Errors
    /// [`Refusal::NotLed`], [`Refusal::Kernel`]
    pub fn run(mut self, hook: &mut Hook) -> Result<(), Refusal> {
        let failed = kernel("testing the programs");
        let trials = trials().map_err(&failed)?;
        hook.set(&trials.iter().map(|trial| (trial.to, trial.target)).collect())?;
        let mut lines = String::new();
        for trial in &trials {
            let _ = writeln!(lines, "{} {}", trial.to, trial.target.via);
        }
        self.to_child.write_all(lines.as_bytes()).map_err(&failed)?;
        drop(self.to_child);
        let found = self.child.wait().map_err(&failed)?;
        capability::drop_all()?;
        if found & FAILED != 0 {
            return Err(failed(io::Error::other("the child failed")));
        }
        must(found & CAPABLE_LED == 0, "a process with capabilities must not be redirected")?;
        must(
            found & TRACEABLE_NOT_LED == 0,
            "a process that its user may trace must be redirected",
        )?;
        let untraceable = trials.iter().any(|trial| is_led(trial.to, trial.target.via));
        must(!untraceable, "a process that its user may not trace must not be redirected")?;
        hook.set(&BTreeMap::new())
    }
}

fn must(holds: bool, test: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::NotLed { test: test.into() }) }
}

/// Waits for what to try. Its memory is a copy, so that being dumpable is its own; and before anybody
/// can trace it, it has nothing open that is worth taking.
fn in_child(caller: Caller, from_parent: &io::PipeReader) -> io::Result<u8> {
    dup2_stdin(from_parent)?;
    sys::close_descriptors_from(1)?;
    let mut lines = String::new();
    io::stdin().read_to_string(&mut lines)?;
    let trials: Option<Vec<(SocketAddr, u16)>> = lines
        .lines()
        .map(|line| {
            line.split_once(' ').and_then(|(to, via)| Some((to.parse().ok()?, via.parse().ok()?)))
        })
        .collect();
    // Nothing comes where the helper has ended.
    let trials = trials.filter(|trials| !trials.is_empty()).ok_or(io::ErrorKind::InvalidData)?;
    if caller.by_sudo {
        caller.become_user().map_err(|_| io::ErrorKind::PermissionDenied)?;
    }
    prctl::set_dumpable(true)?;
    let mut found = 0;
    // By sudo it has no capability any more.
    if !caller.by_sudo && trials.iter().any(|(to, via)| is_led(*to, *via)) {
        found |= CAPABLE_LED;
    }
    capability::drop_all().map_err(|_| io::ErrorKind::PermissionDenied)?;
    if !trials.iter().all(|(to, via)| is_led(*to, *via)) {
        found |= TRACEABLE_NOT_LED;
    }
    Ok(found)
}

/// Whether a connection of this process to `to` arrives at the listener.
fn is_led(to: SocketAddr, via: u16) -> bool {
    let Ok(stream) = TcpStream::connect_timeout(&to, TIMEOUT) else { return false };
    stream.peer_addr().is_ok_and(|peer| peer.port() == via && peer != to)
}

/// A redirect from where nothing listens to a listener of ours.
struct Trial {
    to: SocketAddr,
    target: Listener,
    _listener: TcpListener,
    /// Keeps the port from others.
    _nowhere: OwnedFd,
}

/// Of each family that this machine has.
fn trials() -> io::Result<Vec<Trial>> {
    let v4 = Trial::prepare(Ipv4Addr::new(127, 255, 255, 254).into(), Ipv4Addr::LOCALHOST.into())?;
    let v6 = Trial::prepare(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    // Without IPv6 there is no such address.
    Ok([Some(v4), v6.ok()].into_iter().flatten().collect())
}

impl Trial {
    fn prepare(nowhere: IpAddr, loopback: IpAddr) -> io::Result<Self> {
        let (reserved, to) = reserve(nowhere)?;
        let listener = TcpListener::bind((loopback, 0))?;
        let via = listener.local_addr()?.port();
        let cookie = sys::cookie(listener.as_fd(), Cookie::Socket)?;
        let target = Listener { via, cookie };
        Ok(Self { to, target, _listener: listener, _nowhere: reserved })
    }
}

/// A port that is taken, and at which nothing listens.
fn reserve(ip: IpAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(ip, 0)))?;
    let port = match ip {
        IpAddr::V4(_) => getsockname::<SockaddrIn>(socket.as_raw_fd())?.port(),
        IpAddr::V6(_) => getsockname::<SockaddrIn6>(socket.as_raw_fd())?.port(),
    };
    Ok((socket, SocketAddr::new(ip, port)))
}
