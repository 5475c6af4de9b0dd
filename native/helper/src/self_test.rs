//! Tests the programs on this kernel before use: a kernel may load a program although a structure
//! member has another meaning. A loopback address is redirected to another listener of ours. Three
//! processes connect to it:
//!
//! 1. with a capability, otherwise traceable: must not be redirected;
//! 2. without capabilities: must be redirected;
//! 3. this process, which its user may not trace: must not be redirected.
//!
//! No packet leaves the machine, even if the programs are wrong.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use k8s_connect_wire::Refusal;
use nix::sys::{prctl, signal::Signal};

use crate::{
    caller::Caller,
    capability,
    hook::{Hook, Listener},
    refusal::kernel,
    sys::{self, Cookie},
};

/// The kernel answers at once.
const TIMEOUT: Duration = Duration::from_secs(1);

// Answers of a tester.
const REDIRECTED: u8 = b'y';
const NOT_REDIRECTED: u8 = b'n';

/// The processes that connect with other credentials than this process. They are started before the
/// programs are loaded, so they inherit no descriptor that would keep the programs attached if the
/// helper is killed.
pub struct SelfTest {
    /// `None` under sudo: it would be a process of root.
    capable: Option<Tester>,
    traceable: Tester,
}

impl SelfTest {
    /// Starts the processes, with the capabilities of this process.
    ///
    /// # Errors
    /// [`Refusal::Kernel`]
    pub fn start(caller: Caller) -> Result<Self, Refusal> {
        let failed = kernel("starting the self-test");
        let capable = (!caller.by_sudo).then(|| Tester::start(capability::keep_unused)).transpose();
        let traceable = Tester::start(|| {
            if caller.by_sudo {
                caller.become_user()?;
            }
            capability::drop_all()
        });
        Ok(Self { capable: capable.map_err(&failed)?, traceable: traceable.map_err(&failed)? })
    }

    /// Runs all tests.
    ///
    /// # Errors
    /// [`Refusal::SelfTestFailed`], [`Refusal::Kernel`]
    pub fn run(mut self, hook: &mut Hook) -> Result<(), Refusal> {
        let failed = kernel("running the self-test");
        let trials = trials().map_err(&failed)?;
        hook.set(&trials.iter().map(|trial| (trial.to, trial.target)).collect())?;
        for trial in &trials {
            let (to, via) = (trial.to, trial.target.via);
            if let Some(capable) = &mut self.capable {
                let redirected = capable.is_redirected(to, via).map_err(&failed)?;
                require(!redirected, "a process with capabilities must not be redirected")?;
            }
            let redirected = self.traceable.is_redirected(to, via).map_err(&failed)?;
            require(redirected, "a connection that should have been redirected was not")?;
            let redirected = is_redirected(to, via).map_err(&failed)?;
            require(!redirected, "a process that its user may not trace must not be redirected")?;
        }
        hook.set(&BTreeMap::new())
    }
}

fn require(holds: bool, test: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::SelfTestFailed { test: test.into() }) }
}

/// A child process that makes test connections.
struct Tester {
    socket: UnixStream,
    _child: sys::Child,
}

impl Tester {
    /// `prepare` sets the credentials of the child.
    fn start(prepare: impl FnOnce() -> Result<(), Refusal>) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = sys::fork(|| {
            // The parent sees a failure as end of file on the socket.
            if sys::close_descriptors_but(theirs.as_fd()).is_ok() && prepare().is_ok() {
                let _ = answer(theirs);
            }
        })?;
        Ok(Self { socket, _child: child })
    }

    fn is_redirected(&mut self, to: SocketAddr, via: u16) -> io::Result<bool> {
        writeln!(self.socket, "{to} {via}")?;
        let mut answer = [0];
        self.socket.read_exact(&mut answer)?;
        match answer {
            [REDIRECTED] => Ok(true),
            [NOT_REDIRECTED] => Ok(false),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Answers requests until end of file. The process is dumpable, which is safe: it has a copy of our
/// memory and no other descriptor. The child with a capability keeps it, so that the user cannot
/// trace the child and forge its answers.
fn answer(mut socket: UnixStream) -> io::Result<()> {
    // The user may have stopped it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    prctl::set_dumpable(true)?;
    for line in BufReader::new(socket.try_clone()?).lines() {
        let line = line?;
        let (to, via) = line.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
        let to = to.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        let via = via.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        socket.write_all(&[if is_redirected(to, via)? { REDIRECTED } else { NOT_REDIRECTED }])?;
    }
    Ok(())
}

/// Whether a connection of this process to `to` reaches the other listener. A failed connection is
/// an error and not a result, because the user can cause it.
fn is_redirected(to: SocketAddr, via: u16) -> io::Result<bool> {
    let peer = TcpStream::connect_timeout(&to, TIMEOUT)?.peer_addr()?;
    match peer {
        _ if peer == to => Ok(false),
        _ if peer.port() == via => Ok(true),
        _ => Err(io::Error::other("another program answered")),
    }
}

/// A redirect between two listeners of ours.
struct Trial {
    to: SocketAddr,
    target: Listener,
    _listeners: [TcpListener; 2],
}

/// One trial for each address family of this machine.
fn trials() -> io::Result<Vec<Trial>> {
    let v4 = Trial::prepare(Ipv4Addr::new(127, 255, 255, 254).into(), Ipv4Addr::LOCALHOST.into())?;
    let v6 = Trial::prepare(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    // Without IPv6, binding to `::1` fails.
    Ok([Some(v4), v6.ok()].into_iter().flatten().collect())
}

impl Trial {
    fn prepare(from: IpAddr, loopback: IpAddr) -> io::Result<Self> {
        let listeners = [TcpListener::bind((from, 0))?, TcpListener::bind((loopback, 0))?];
        let [to, via] = [listeners[0].local_addr()?, listeners[1].local_addr()?];
        let cookie = sys::cookie(listeners[1].as_fd(), Cookie::Socket)?;
        Ok(Self { to, target: Listener { via: via.port(), cookie }, _listeners: listeners })
    }
}
