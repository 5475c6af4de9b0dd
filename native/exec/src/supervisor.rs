//! Handles each `connect()` of the command.
//!
//! The supervisor reads the address once and connects the caller's socket itself. A later change of
//! the address by the program has no effect, because the kernel does not read it again.
//!
//! With `CONTINUE`, the kernel reads the address again, and another thread may have changed it. So
//! `CONTINUE` is only used for connections that are not redirected. At worst, a program connects to
//! the pod's address directly, which it could do anyway.

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

/// The longest socket address: `struct sockaddr_storage`.
const MAX_ADDRESS_LENGTH: usize = 128;
/// `sizeof(struct sockaddr_in)` and `SIN6_LEN_RFC2133`: the kernel rejects shorter addresses
/// (EINVAL).
const MIN_V4_LENGTH: usize = 16;
const MIN_V6_LENGTH: usize = 24;
/// `PIDFD_THREAD` (Linux 6.9): a thread may have its own descriptor table.
const PIDFD_THREAD: i32 = libc::O_EXCL;

/// Answers the notifications of the filter.
pub struct Supervisor {
    listener: Arc<OwnedFd>,
    endpoints: Endpoints,
    /// IDs of the calls whose sockets are being connected on threads.
    connecting: Arc<Mutex<Vec<u64>>>,
    /// The cookie of our network namespace: in others, the same address is another host.
    namespace: Option<u64>,
    /// A signal restarts an interrupted call, whose socket may already be connected.
    restarts: bool,
    /// The first error of a system call that inspected a caller.
    problem: Option<io::Error>,
}

/// The state of the listener.
pub enum CallState {
    Pending,
    Idle,
    /// The last process with the filter has ended.
    Closed,
}

/// How to handle a call.
enum Decision {
    Answer(Answer),
    /// Connect the socket to this address.
    Redirect(OwnedFd, SocketAddr),
    /// The caller was killed or interrupted.
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

    /// Takes the first error, if any.
    pub fn problem(&mut self) -> Option<io::Error> {
        self.problem.take()
    }

    /// Removes a redirect.
    pub fn remove(&mut self, redirect: Redirect) {
        self.endpoints.remove(redirect);
    }

    /// Rejects all redirected connections from now on.
    pub fn reject(&mut self) {
        self.endpoints.close();
    }

    /// Starts the residual process for processes that outlive the command and still have the
    /// filter.
    pub fn hand_over(self) {
        for id in lock(&self.connecting).drain(..) {
            self.respond(id, Answer::Error(libc::ECONNREFUSED));
        }
        if !matches!(poll_calls(self.listener(), PollTimeout::ZERO), CallState::Closed) {
            residual::start(self.listener());
        }
    }

    /// Answers the next call. Returns `false` if no process has the filter any more.
    pub fn answer(&mut self) -> bool {
        match poll_calls(self.listener(), PollTimeout::ZERO) {
            CallState::Pending => {}
            CallState::Idle => return true,
            CallState::Closed => return false,
        }
        // The caller may have been killed since the poll.
        let Ok(call) = sys::receive(self.listener()) else { return true };
        match self.decide(&call) {
            Decision::Answer(answer) => self.respond(call.id, answer),
            Decision::Redirect(socket, to) => self.redirect(call.id, socket, to),
            Decision::Gone => {}
        }
        true
    }

    fn decide(&mut self, call: &Notification) -> Decision {
        let address = read_address(call);
        if !sys::is_waiting(self.listener(), call.id) {
            return Decision::Gone; // the PID may have been reused
        }
        let destination = match address {
            Ok(address) => address.and_then(|address| self.endpoints.destination(address)),
            // The connections of a non-dumpable process are not redirected.
            Err(error) => {
                self.problem.get_or_insert(error);
                None
            }
        };
        let Some(to) = destination else { return Decision::Answer(Answer::Continue) };
        let socket = take_socket(call);
        if !sys::is_waiting(self.listener(), call.id) {
            return Decision::Gone;
        }
        match socket {
            Ok(socket) if !self.is_redirectable(socket.as_fd()) => {
                Decision::Answer(Answer::Continue)
            }
            Ok(socket) if self.endpoints.accepts(to) => Decision::Redirect(socket, to),
            Ok(_refused) => Decision::Answer(Answer::Error(libc::ECONNREFUSED)),
            Err(error) => {
                let number = error.raw_os_error().unwrap_or(libc::EPERM);
                self.problem.get_or_insert(error);
                Decision::Answer(Answer::Error(number))
            }
        }
    }

    /// Whether it is a TCP (or MPTCP) socket of our network namespace.
    fn is_redirectable(&self, socket: BorrowedFd) -> bool {
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

    /// Connects a blocking socket on a thread: with a full queue, connecting takes time, and other
    /// calls must not wait.
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
            // Our copy would keep the socket open after the caller has closed it.
            drop(socket);
            let _ = sys::respond(listener.as_fd(), id, answer);
            // After the answer: `hand_over` answers all calls that are still listed.
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

/// Without an event, the caller was killed or interrupted since the last poll. The end of the last
/// process with the filter is reported as POLLHUP.
pub fn poll_calls(listener: BorrowedFd, timeout: PollTimeout) -> CallState {
    let mut polled = [PollFd::new(listener, PollFlags::POLLIN)];
    let _ = poll(&mut polled, timeout);
    match polled[0].revents() {
        Some(events) if events.contains(PollFlags::POLLIN) => CallState::Pending,
        Some(events) if events.intersects(PollFlags::POLLHUP | PollFlags::POLLNVAL) => {
            CallState::Closed
        }
        _nothing => CallState::Idle,
    }
}

fn connect(socket: BorrowedFd, to: SocketAddr, restarts: bool) -> Answer {
    // For a dropped SYN as well, see `Endpoints::accepts`: no retransmissions for minutes.
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

/// Reads the address of the call; `None` if it is not an IP address.
fn read_address(call: &Notification) -> io::Result<Option<SocketAddr>> {
    let length = call.length.min(MAX_ADDRESS_LENGTH);
    if length < MIN_V4_LENGTH {
        return Ok(None);
    }
    let mut bytes = [0; MAX_ADDRESS_LENGTH];
    let from = [RemoteIoVec { base: call.address, len: length }];
    let read = process_vm_readv(call.thread, &mut [IoSliceMut::new(&mut bytes)], &from);
    match read {
        Ok(read) if read == length => Ok(parse(&bytes[..length])),
        // The kernel will return the same error to the caller.
        Ok(_) | Err(Errno::EFAULT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Parses `struct sockaddr_in` or `sockaddr_in6`, without scope and flow label.
fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET if bytes.len() >= MIN_V4_LENGTH => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some((Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 if bytes.len() >= MIN_V6_LENGTH => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some((Ipv6Addr::from(ip), port).into())
        }
        _other => None,
    }
}

/// Duplicates the caller's socket. To connect the copy is to connect the original.
fn take_socket(call: &Notification) -> io::Result<OwnedFd> {
    let process = match sys::open_pidfd(call.thread, PIDFD_THREAD) {
        // Before Linux 6.9, uses the descriptor table of the process.
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

/// The cookie of our network namespace; `None` before Linux 5.14.
fn namespace() -> Option<u64> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    sys::option(socket.as_fd(), libc::SO_NETNS_COOKIE).ok()
}
