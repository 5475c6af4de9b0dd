//! The system calls that no safe crate has.
#![allow(unsafe_code)]

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{
        signal::{SigHandler, Signal, signal},
        socket::{SockaddrIn, SockaddrIn6, connect},
    },
    unistd::{ForkResult, Pid, fork},
};

/// `_IOWR('!', 0, struct seccomp_notif)`, and the like of the others.
const NOTIF_RECV: libc::Ioctl = request(3, 0, size_of::<libc::seccomp_notif>()) as libc::Ioctl;
const NOTIF_SEND: libc::Ioctl = request(3, 1, size_of::<libc::seccomp_notif_resp>()) as libc::Ioctl;
const NOTIF_ID_VALID: libc::Ioctl = request(1, 2, size_of::<u64>()) as libc::Ioctl;

const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (b'!' as u64) << 8 | number
}

/// A `connect()` that waits for its answer.
#[derive(Clone, Copy)]
pub struct Notification {
    /// Names it, for as long as it waits.
    pub id: u64,
    /// The thread that called.
    pub thread: Pid,
    /// The three arguments of the call.
    pub socket: RawFd,
    pub address: usize,
    pub length: usize,
}

/// What the waiting call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is executed by the kernel as if nobody had looked.
    Continue,
    /// It returns 0.
    Success,
    /// It fails with this number.
    Error(i32),
}

/// Installs the filter for this thread and what it starts; the descriptor has its notifications.
pub fn install(filter: &mut [libc::sock_filter], flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let len = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    let flags = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program has as many instructions as it says, and outlives the call.
    descriptor(unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) })
}

/// Takes the next notification.
pub fn receive(listener: BorrowedFd) -> io::Result<Notification> {
    // SAFETY: all zeroes is a valid value of it, and the one that the kernel wants.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one notification, which is as large as the number says.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut notification) }.into())?;
    let [socket, address, length, ..] = notification.data.args;
    // The kernel takes the descriptor and the length as 32-bit numbers, too.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    Ok(Notification {
        id: notification.id,
        thread: Pid::from_raw(notification.pid as i32),
        socket: socket as RawFd,
        address: address as usize,
        length: length as u32 as usize,
    })
}

/// Whether the call still waits: only then was it the caller that we have looked at.
pub fn is_waiting(listener: BorrowedFd, id: u64) -> bool {
    // SAFETY: the kernel reads one number.
    unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_ID_VALID, &raw const id) == 0 }
}

/// Answers a call; that it no longer waits is an error that means nothing.
pub fn respond(listener: BorrowedFd, id: u64, answer: Answer) -> io::Result<()> {
    let (error, flags) = match answer {
        Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
        Answer::Success => (0, 0),
        Answer::Error(number) => (-number, 0),
    };
    let flags = u32::try_from(flags).map_err(|_| io::ErrorKind::InvalidInput)?;
    let response = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: the kernel reads one response, which is as large as the number says.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw const response) }.into())
        .map(drop)
}

/// A process, or with the flag `PIDFD_THREAD` a thread, that can have no other's id later.
pub fn open_pidfd(pid: Pid, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), flags) })
}

/// Another process's descriptor.
pub fn take_descriptor(process: BorrowedFd, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    descriptor(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })
}

/// A socket option that is a number of the type `T`.
pub fn option<T: Default>(socket: BorrowedFd, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let to = (&raw mut value).cast();
    // SAFETY: the kernel writes no more than the length says.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, to, &raw mut length)
    };
    check(result.into()).map(|_| value)
}

/// Has a SYN repeated once only (`TCP_SYNCNT`), or as often as `tcp_syn_linear_timeouts` adds.
pub fn limit_retransmissions(socket: BorrowedFd) -> io::Result<()> {
    let count: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&count)).map_err(io::Error::other)?;
    let value = (&raw const count).cast();
    // SAFETY: `value` is to as many bytes as `length` says, and outlives the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_SYNCNT, value, length)
    };
    check(result.into()).map(drop)
}

/// Connects somebody's socket.
pub fn connect_to(socket: BorrowedFd, address: SocketAddr) -> nix::Result<()> {
    match address {
        SocketAddr::V4(address) => connect(socket.as_raw_fd(), &SockaddrIn::from(address)),
        SocketAddr::V6(address) => connect(socket.as_raw_fd(), &SockaddrIn6::from(address)),
    }
}

/// Makes a process like this one. Where there are other threads, the child may make system calls
/// only.
pub fn divide() -> nix::Result<ForkResult> {
    // SAFETY: the callers keep to that.
    unsafe { fork() }
}

/// How a child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(u8),
    Signaled(u8),
}

/// Reaps one child that has ended; `None` where there is none. `nix` has no name for real-time
/// signals, and fails on the status of a child that one has ended.
pub fn reap() -> Option<(Pid, End)> {
    let mut status = 0;
    let pid = loop {
        // SAFETY: the kernel writes one number.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            0 => return None,
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return None, // ECHILD
            pid => break Pid::from_raw(pid),
        }
    };
    // Both are numbers below 256.
    let number = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    // Without WUNTRACED and WCONTINUED there is no third kind.
    Some(if libc::WIFSIGNALED(status) {
        (pid, End::Signaled(number(libc::WTERMSIG(status))))
    } else {
        (pid, End::Exited(number(libc::WEXITSTATUS(status))))
    })
}

/// Undoes what Rust's runtime has done: a program expects to be ended by SIGPIPE.
pub fn restore_sigpipe() -> nix::Result<()> {
    // SAFETY: no handler is set, so no code of ours runs in one.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

/// The descriptor that a parent has opened for us under this number.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: it is only borrowed, for one question, and nothing closes it meanwhile.
    let theirs = unsafe { BorrowedFd::borrow_raw(number) };
    // Before Linux 5.11 `close_on_exec_from` does nothing, and the command would inherit it.
    fcntl(theirs, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // A copy, as nobody can say who else here owns the number.
    theirs.as_fd().try_clone_to_owned().ok()
}

/// A descriptor that has come with a message.
pub fn received(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made it, for us.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Keeps every other descriptor from the command: those of a careless parent, and that number.
pub fn close_on_exec_from(first: RawFd) {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // An older kernel than 5.11 cannot; our own ones are close-on-exec anyway.
    // SAFETY: nothing is closed here.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, first, RawFd::MAX, flag) };
}

/// Closes every other descriptor. It has the number 3 afterwards, and 0 to 2 are `/dev/null`.
pub fn keep_only(descriptor: BorrowedFd) -> BorrowedFd<'static> {
    const KEPT: RawFd = 3;
    // SAFETY: numbers, and a string that ends with a zero. This process uses no other descriptor.
    unsafe {
        if descriptor.as_raw_fd() != KEPT {
            libc::dup2(descriptor.as_raw_fd(), KEPT);
        }
        libc::syscall(libc::SYS_close_range, KEPT + 1, RawFd::MAX, 0);
        for number in 0..KEPT {
            libc::close(number);
        }
        // The lowest free number, which is 0.
        libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for number in 1..KEPT {
            libc::dup2(0, number);
        }
        BorrowedFd::borrow_raw(KEPT)
    }
}

/// Ends this process, and runs nothing else before.
pub fn exit_at_once() -> ! {
    // SAFETY: it does not return.
    unsafe { libc::_exit(0) }
}

fn descriptor(result: i64) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(check(result)?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made it, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
