//! Answers each `connect()` of the command.
//!
//! The address is read once, and a connection to it is made from here, on the very socket. What the
//! program writes to that memory later changes nothing: the kernel does not read it again.
//!
//! `CONTINUE` makes the kernel read the address again, and another thread of the program may have
//! changed it by then. It is the answer only for what is not redirected, so the worst is that a
//! program connects itself where it wants, as it could without us.

use std::{
    fs, io,
    io::IoSliceMut,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{SockaddrStorage, getpeername},
        uio::{RemoteIoVec, process_vm_readv},
    },
    unistd::Pid,
};

use crate::{
    endpoints::Endpoints,
    redirect::Redirect,
    residual,
    sys::{self, Answer, Notification},
};

/// Addresses are no longer: `struct sockaddr_storage`.
const LONGEST: usize = 128;
/// `sizeof(struct sockaddr_in)`, and `SIN6_LEN_RFC2133`: with less the kernel says EINVAL.
const SHORTEST_V4: usize = 16;
const SHORTEST_V6: usize = 24;
/// `PIDFD_THREAD` (Linux 6.9): a thread may have descriptors of its own.
const THREAD: i32 = libc::O_EXCL;

/// Knows the endpoints, and has the notifications.
pub struct Supervisor {
    listener: Arc<OwnedFd>,
    endpoints: Endpoints,
    /// The calls whose sockets connect on a thread.
    connecting: Arc<Mutex<Vec<u64>>>,
    /// Addresses mean something else in another network namespace.
    namespace: Option<u64>,
    /// A call that a signal has interrupted begins again, after we may have connected its socket.
    restarts: bool,
    /// The first thing that the kernel has refused.
    problem: Option<io::Error>,
}

/// What the listener has.
pub enum Calls {
    Waiting,
    NoneNow,
    /// The last process under the filter has ended.
    NoMore,
}

/// What is to be done with a call.
enum Judgement {
    Answer(Answer),
    /// Connect the socket to the address.
    Redirect(OwnedFd, SocketAddr),
    /// The caller is gone, or was interrupted.
    Gone,
}

impl Supervisor {
    pub fn new(listener: OwnedFd, endpoints: Endpoints, restarts: bool) -> Self {
        Self {
            listener: Arc::new(listener),
            endpoints,
            connecting: Arc::default(),
            namespace: namespace(),
            restarts,
            problem: None,
        }
    }

    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// What the kernel has refused so far.
    pub fn problem(&mut self) -> Option<io::Error> {
        self.problem.take()
    }

    /// Takes this one out.
    pub fn remove(&mut self, redirect: Redirect) {
        self.endpoints.remove(redirect);
    }

    /// Refuses every redirected connection from now on.
    pub fn refuse(&mut self) {
        self.endpoints.close();
    }

    /// The processes that outlive the command are still under the filter: leaves their calls to a
    /// process of their own.
    pub fn leave(self) {
        for id in lock(&self.connecting).drain(..) {
            self.respond(id, Answer::Error(libc::ECONNREFUSED));
        }
        if !matches!(calls(self.listener(), PollTimeout::ZERO), Calls::NoMore) {
            residual::start(self.listener());
        }
    }

    /// Answers the next call. `false` means that there will be no other.
    pub fn answer(&mut self) -> bool {
        match calls(self.listener(), PollTimeout::ZERO) {
            Calls::Waiting => {}
            Calls::NoneNow => return true,
            Calls::NoMore => return false,
        }
        // Its caller may have been killed since.
        let Ok(call) = sys::receive(self.listener()) else { return true };
        match self.judge(&call) {
            Judgement::Answer(answer) => self.respond(call.id, answer),
            Judgement::Redirect(socket, to) => self.redirect(call.id, socket, to),
            Judgement::Gone => {}
        }
        true
    }

    fn judge(&mut self, call: &Notification) -> Judgement {
        let address = read_address(call);
        if !sys::is_waiting(self.listener(), call.id) {
            return Judgement::Gone; // what we have read may be another process's
        }
        let destination = match address {
            Ok(address) => address.and_then(|address| self.endpoints.destination(address)),
            // A process that cannot be looked into (not dumpable) keeps its connections.
            Err(error) => {
                self.problem.get_or_insert(error);
                None
            }
        };
        let Some(to) = destination else { return Judgement::Answer(Answer::Continue) };
        let socket = take_socket(call);
        if !sys::is_waiting(self.listener(), call.id) {
            return Judgement::Gone;
        }
        match socket {
            Ok(socket) if !self.is_ours(socket.as_fd()) => Judgement::Answer(Answer::Continue),
            Ok(socket) if self.endpoints.accepts(to) => Judgement::Redirect(socket, to),
            Ok(_refused) => Judgement::Answer(Answer::Error(libc::ECONNREFUSED)),
            Err(error) => {
                let number = error.raw_os_error().unwrap_or(libc::EPERM);
                self.problem.get_or_insert(error);
                Judgement::Answer(Answer::Error(number))
            }
        }
    }

    /// TCP, MPTCP included, in our own network namespace.
    fn is_ours(&self, socket: BorrowedFd) -> bool {
        let tcp = || -> io::Result<bool> {
            let family: i32 = sys::option(socket, libc::SO_DOMAIN)?;
            let kind: i32 = sys::option(socket, libc::SO_TYPE)?;
            let protocol: i32 = sys::option(socket, libc::SO_PROTOCOL)?;
            Ok([libc::AF_INET, libc::AF_INET6].contains(&family)
                && kind == libc::SOCK_STREAM
                && [libc::IPPROTO_TCP, libc::IPPROTO_MPTCP].contains(&protocol))
        };
        tcp().unwrap_or(false) && sys::option(socket, libc::SO_NETNS_COOKIE).ok() == self.namespace
    }

    /// On the loopback the answer comes at once, unless the listener has more waiting than it takes.
    /// A socket that waits does that on a thread, so that other calls do not.
    fn redirect(&self, id: u64, socket: OwnedFd, to: SocketAddr) {
        let flags = fcntl(&socket, FcntlArg::F_GETFL).map(OFlag::from_bits_truncate);
        if flags.is_ok_and(|flags| flags.contains(OFlag::O_NONBLOCK)) {
            return self.respond(id, connect(socket.as_fd(), to, self.restarts));
        }
        let (listener, restarts) = (self.listener.clone(), self.restarts);
        let connecting = self.connecting.clone();
        lock(&connecting).push(id);
        let work = move || {
            let answer = connect(socket.as_fd(), to, restarts);
            // Our copy must not keep a socket open that its owner closes after the answer.
            drop(socket);
            let _ = sys::respond(listener.as_fd(), id, answer);
            // Not before the answer, which the end of this process could prevent.
            lock(&connecting).retain(|other| *other != id);
        };
        if thread::Builder::new().stack_size(64 * 1024).spawn(work).is_err() {
            self.respond(id, Answer::Error(libc::EAGAIN));
        }
    }

    fn respond(&self, id: u64, answer: Answer) {
        let _ = sys::respond(self.listener(), id, answer);
    }
}

fn lock(connecting: &Mutex<Vec<u64>>) -> MutexGuard<'_, Vec<u64>> {
    connecting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No event means only that the caller was killed or interrupted since the last poll. That the last
/// process under the filter has ended is an event of its own.
pub fn calls(listener: BorrowedFd, timeout: PollTimeout) -> Calls {
    let mut polled = [PollFd::new(listener, PollFlags::POLLIN)];
    let _ = poll(&mut polled, timeout);
    match polled[0].revents() {
        Some(events) if events.contains(PollFlags::POLLIN) => Calls::Waiting,
        Some(events) if events.intersects(PollFlags::POLLHUP | PollFlags::POLLNVAL) => {
            Calls::NoMore
        }
        _nothing => Calls::NoneNow,
    }
}

fn connect(socket: BorrowedFd, to: SocketAddr, restarts: bool) -> Answer {
    // For the same reason a SYN that is lost is not repeated for minutes.
    let _ = sys::limit_retransmissions(socket);
    match sys::connect_to(socket, to) {
        Ok(()) => Answer::Success,
        Err(Errno::EISCONN) if restarts && is_connected_to(socket, to) => Answer::Success,
        Err(error) => Answer::Error(error as i32),
    }
}

fn is_connected_to(socket: BorrowedFd, to: SocketAddr) -> bool {
    let Ok(peer) = getpeername::<SockaddrStorage>(socket.as_raw_fd()) else { return false };
    match to {
        SocketAddr::V4(to) => peer.as_sockaddr_in() == Some(&to.into()),
        SocketAddr::V6(to) => peer.as_sockaddr_in6() == Some(&to.into()),
    }
}

/// `None` for what is no address of TCP.
fn read_address(call: &Notification) -> io::Result<Option<SocketAddr>> {
    let length = call.length.min(LONGEST);
    if length < SHORTEST_V4 {
        return Ok(None);
    }
    let mut bytes = [0; LONGEST];
    let from = [RemoteIoVec { base: call.address, len: length }];
    let read = process_vm_readv(call.thread, &mut [IoSliceMut::new(&mut bytes)], &from);
    match read {
        Ok(read) if read == length => Ok(parse(&bytes[..length])),
        // The kernel will say so, too.
        Ok(_) | Err(Errno::EFAULT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `struct sockaddr_in` and `sockaddr_in6`; scope and flow do not matter.
fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET if bytes.len() >= SHORTEST_V4 => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some((Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 if bytes.len() >= SHORTEST_V6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some((Ipv6Addr::from(ip), port).into())
        }
        _other => None,
    }
}

/// The socket itself: connecting it connects the program's.
fn take_socket(call: &Notification) -> io::Result<OwnedFd> {
    let process = match sys::open_pidfd(call.thread, THREAD) {
        // An older kernel: the descriptors of its process have to do.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            sys::open_pidfd(process_of(call.thread)?, 0)?
        }
        thread => thread?,
    };
    sys::take_descriptor(process.as_fd(), call.socket)
}

fn process_of(thread: Pid) -> io::Result<Pid> {
    let status = fs::read_to_string(format!("/proc/{thread}/status"))?;
    let id = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    let id = id.and_then(|id| id.trim().parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Pid::from_raw(id))
}

/// `None` before Linux 5.14, for every socket.
fn namespace() -> Option<u64> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    sys::option(socket.as_fd(), libc::SO_NETNS_COOKIE).ok()
}
