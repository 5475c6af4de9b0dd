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
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use k8s_connect_wire::Refusal;
use nix::sys::{
    prctl,
    socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, bind,
        getsockname, socket,
    },
};

use crate::{
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

/// Tries it, and gives up the capabilities on the way.
///
/// # Errors
/// [`Refusal::NotLed`], [`Refusal::Kernel`]
pub fn run(hook: &mut Hook, capable: bool) -> Result<(), Refusal> {
    let failed = kernel("testing the programs");
    let loopbacks: [(SocketAddr, SocketAddr); 2] = [
        ((Ipv4Addr::new(127, 255, 255, 254), 0).into(), (Ipv4Addr::LOCALHOST, 0).into()),
        ((Ipv6Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()),
    ];
    let mut trials = Vec::new();
    for (nowhere, loopback) in loopbacks {
        match Trial::prepare(nowhere, loopback) {
            Ok(trial) => trials.push(trial),
            // A machine without IPv6.
            Err(_) if nowhere.is_ipv6() => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let targets: BTreeMap<_, _> = trials.iter().map(|trial| (trial.to, trial.target)).collect();
    hook.set(&targets)?;
    let found = sys::in_child(|| in_child(&trials, capable)).map_err(&failed)?;
    capability::drop_all()?;
    if found & FAILED != 0 {
        return Err(failed(io::Error::other("the child failed")));
    }
    must(found & CAPABLE_LED == 0, "a process with capabilities must not be redirected")?;
    must(found & TRACEABLE_NOT_LED == 0, "a process that its user may trace must be redirected")?;
    let untraceable = trials.iter().any(Trial::is_led);
    must(!untraceable, "a process that its user may not trace must not be redirected")?;
    hook.set(&BTreeMap::new())
}

fn must(holds: bool, test: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::NotLed { test: test.into() }) }
}

/// Its memory is a copy, so that being dumpable is its own. Before anybody can trace it, it has
/// nothing open that is worth taking.
fn in_child(trials: &[Trial], capable: bool) -> u8 {
    if sys::close_descriptors_from(0).is_err() || prctl::set_dumpable(true).is_err() {
        return FAILED;
    }
    let mut found = 0;
    if capable && trials.iter().any(Trial::is_led) {
        found |= CAPABLE_LED;
    }
    if capability::drop_all().is_err() {
        return FAILED;
    }
    if !trials.iter().all(Trial::is_led) {
        found |= TRACEABLE_NOT_LED;
    }
    found
}

/// A redirect from where nothing listens to a listener of ours.
struct Trial {
    to: SocketAddr,
    target: Listener,
    _listener: TcpListener,
    /// Keeps the port from others.
    _nowhere: OwnedFd,
}

impl Trial {
    fn prepare(nowhere: SocketAddr, loopback: SocketAddr) -> io::Result<Self> {
        let (reserved, to) = reserve(nowhere)?;
        let listener = TcpListener::bind(loopback)?;
        let via = listener.local_addr()?.port();
        let cookie = sys::cookie(listener.as_fd(), Cookie::Socket)?;
        Ok(Self { to, target: Listener { via, cookie }, _listener: listener, _nowhere: reserved })
    }

    /// Whether a connection of this process is redirected.
    fn is_led(&self) -> bool {
        let Ok(stream) = TcpStream::connect_timeout(&self.to, TIMEOUT) else { return false };
        stream.peer_addr().is_ok_and(|peer| peer.port() == self.target.via && peer != self.to)
    }
}

/// A port that is taken, and at which nothing listens.
fn reserve(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    let port = match address {
        SocketAddr::V4(_) => getsockname::<SockaddrIn>(socket.as_raw_fd())?.port(),
        SocketAddr::V6(_) => getsockname::<SockaddrIn6>(socket.as_raw_fd())?.port(),
    };
    Ok((socket, SocketAddr::new(address.ip(), port)))
}
