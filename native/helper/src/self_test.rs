//! Whether the programs do what they are for, tried before anybody uses them: a kernel may load a
//! program and mean something else by a structure's member. A listener of ours on the loopback network is
//! redirected to another one, and then connected to by
//!
//! 1. a process that has capabilities, and could be traced otherwise: must not be redirected;
//! 2. a process without any: must be redirected;
//! 3. a process that its user may not trace (this one): must not be redirected.
//!
//! Nothing leaves the machine, whatever the programs do.

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

/// The answer comes at once, from the kernel itself.
const TIMEOUT: Duration = Duration::from_secs(1);

// What a tester answers.
const LED: u8 = b'y';
const NOT_LED: u8 = b'n';

/// The processes that connect as somebody else than this one. They are started before there is
/// anything to hold: when the helper is killed meanwhile, no descriptor of the programs is left.
pub struct SelfTest {
    /// By sudo there is none, as its connections would be root's.
    capable: Option<Tester>,
    traceable: Tester,
}

impl SelfTest {
    /// Starts them, with the capabilities that this process has.
    ///
    /// # Errors
    /// [`Refusal::Kernel`]
    pub fn start(caller: Caller) -> Result<Self, Refusal> {
        let failed = kernel("starting the test of the programs");
        let capable = (!caller.by_sudo).then(|| Tester::start(capability::keep_unused)).transpose();
        let traceable = Tester::start(|| {
            if caller.by_sudo {
                caller.become_user()?;
            }
            capability::drop_all()
        });
        Ok(Self { capable: capable.map_err(&failed)?, traceable: traceable.map_err(&failed)? })
    }

    /// Tries the programs.
    ///
    /// # Errors
    /// [`Refusal::NotLed`], [`Refusal::Kernel`]
    pub fn run(mut self, hook: &mut Hook) -> Result<(), Refusal> {
        let failed = kernel("testing the programs");
        let trials = trials().map_err(&failed)?;
        hook.set(&trials.iter().map(|trial| (trial.to, trial.target)).collect())?;
        for trial in &trials {
            let (to, via) = (trial.to, trial.target.via);
            if let Some(capable) = &mut self.capable {
                let led = capable.is_led(to, via).map_err(&failed)?;
                must(!led, "a process with capabilities must not be redirected")?;
            }
            let led = self.traceable.is_led(to, via).map_err(&failed)?;
            must(led, "a process that its user may trace must be redirected")?;
            let led = is_led(to, via).map_err(&failed)?;
            must(!led, "a process that its user may not trace must not be redirected")?;
        }
        hook.set(&BTreeMap::new())
    }
}

fn must(holds: bool, test: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::NotLed { test: test.into() }) }
}

/// A child that connects where it is told to.
struct Tester {
    socket: UnixStream,
    _child: sys::Child,
}

impl Tester {
    /// `prepare` makes it who it is to be.
    fn start(prepare: impl FnOnce() -> Result<(), Refusal>) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = sys::fork(|| {
            // What fails is seen as the end of the socket.
            if sys::close_descriptors_but(theirs.as_fd()).is_ok() && prepare().is_ok() {
                let _ = answer(theirs);
            }
        })?;
        Ok(Self { socket, _child: child })
    }

    fn is_led(&mut self, to: SocketAddr, via: u16) -> io::Result<bool> {
        writeln!(self.socket, "{to} {via}")?;
        let mut answer = [0];
        self.socket.read_exact(&mut answer)?;
        match answer {
            [LED] => Ok(true),
            [NOT_LED] => Ok(false),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Its memory is a copy, so that being dumpable is its own; and it has nothing open that is worth
/// taking. One with capabilities stays out of its user's reach to the end, so that its answers are
/// its own.
fn answer(mut socket: UnixStream) -> io::Result<()> {
    // Its user may have stopped it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    prctl::set_dumpable(true)?;
    for line in BufReader::new(socket.try_clone()?).lines() {
        let line = line?;
        let (to, via) = line.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
        let to = to.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        let via = via.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        socket.write_all(&[if is_led(to, via)? { LED } else { NOT_LED }])?;
    }
    Ok(())
}

/// Whether a connection of this process to `to` arrives at the other listener. One that fails says
/// nothing: its user can bring that about.
fn is_led(to: SocketAddr, via: u16) -> io::Result<bool> {
    let peer = TcpStream::connect_timeout(&to, TIMEOUT)?.peer_addr()?;
    match peer {
        _ if peer == to => Ok(false),
        _ if peer.port() == via => Ok(true),
        _ => Err(io::Error::other("another program answered")),
    }
}

/// A redirect from one listener of ours to another one.
struct Trial {
    to: SocketAddr,
    target: Listener,
    _listeners: [TcpListener; 2],
}

/// Of each family that this machine has.
fn trials() -> io::Result<Vec<Trial>> {
    let v4 = Trial::prepare(Ipv4Addr::new(127, 255, 255, 254).into(), Ipv4Addr::LOCALHOST.into())?;
    let v6 = Trial::prepare(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    // Without IPv6 there is no such address.
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
