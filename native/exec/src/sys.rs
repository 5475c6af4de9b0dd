//! System calls without a safe wrapper in nix.
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
    unistd::{self, ForkResult, Pid},
};

/// `_IOWR('!', 0, struct seccomp_notif)` and so on.
const NOTIF_RECV: libc::Ioctl = request(3, 0, size_of::<libc::seccomp_notif>()) as libc::Ioctl;
const NOTIF_SEND: libc::Ioctl = request(3, 1, size_of::<libc::seccomp_notif_resp>()) as libc::Ioctl;
const NOTIF_ID_VALID: libc::Ioctl = request(1, 2, size_of::<u64>()) as libc::Ioctl;

const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (b'!' as u64) << 8 | number
}

/// A `connect()` call that waits for an answer.
#[derive(Clone, Copy)]
pub struct Notification {
    /// Identifies the call while it waits.
    pub id: u64,
    /// The calling thread.
    pub thread: Pid,
    /// The three arguments of the call.
    pub socket: RawFd,
    pub address: usize,
    pub length: usize,
}

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel executes the call unchanged.
    Continue,
    /// The call returns 0.
    Success,
    /// The call fails with this errno.
    Error(i32),
}

/// Installs the filter for this thread and its children. Returns the listener for notifications.
pub fn install(filter: &mut [libc::sock_filter], flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let len = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    let flags = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `program` has the correct length and outlives the call.
    descriptor(unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) })
}

/// Receives the next notification.
pub fn receive(listener: BorrowedFd) -> io::Result<Notification> {
    // SAFETY: all zeroes is a valid value, and the kernel requires it.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one notification of this size.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut notification) }.into())?;
    let [socket, address, length, ..] = notification.data.args;
    // The kernel also truncates the descriptor and the length to 32 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    Ok(Notification {
        id: notification.id,
        thread: Pid::from_raw(notification.pid as i32),
        socket: socket as RawFd,
        address: address as usize,
        length: length as u32 as usize,
    })
}

/// Whether the call still waits. If not, the PID may have been reused by another process.
pub fn is_waiting(listener: BorrowedFd, id: u64) -> bool {
    // SAFETY: the kernel reads one number.
    unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_ID_VALID, &raw const id) == 0 }
}

/// Answers a call. Fails if the call no longer waits, which can be ignored.
pub fn respond(listener: BorrowedFd, id: u64, answer: Answer) -> io::Result<()> {
    let (error, flags) = match answer {
        Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
        Answer::Success => (0, 0),
        Answer::Error(number) => (-number, 0),
    };
    let flags = u32::try_from(flags).map_err(|_| io::ErrorKind::InvalidInput)?;
    let response = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: the kernel reads one response of this size.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw const response) }.into())
        .map(drop)
}

/// Opens a pidfd of a process, or of a thread with the flag `PIDFD_THREAD`. Its PID cannot be
/// reused.
pub fn open_pidfd(pid: Pid, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), flags) })
}

/// Duplicates a descriptor of another process.
pub fn take_descriptor(process: BorrowedFd, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    descriptor(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })
}

/// Reads an integer socket option of type `T`.
pub fn option<T: Default>(socket: BorrowedFd, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let to = (&raw mut value).cast();
    // SAFETY: the kernel writes at most `length` bytes.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, to, &raw mut length)
    };
    check(result.into()).map(|_| value)
}

/// Limits SYN retransmissions to one (`TCP_SYNCNT`), plus `tcp_syn_linear_timeouts`.
pub fn limit_retransmissions(socket: BorrowedFd) -> io::Result<()> {
    let count: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&count)).map_err(io::Error::other)?;
    let value = (&raw const count).cast();
    // SAFETY: `value` points to `length` bytes and outlives the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_SYNCNT, value, length)
    };
    check(result.into()).map(drop)
}

/// Connects a socket.
pub fn connect_to(socket: BorrowedFd, address: SocketAddr) -> nix::Result<()> {
    match address {
        SocketAddr::V4(address) => connect(socket.as_raw_fd(), &SockaddrIn::from(address)),
        SocketAddr::V6(address) => connect(socket.as_raw_fd(), &SockaddrIn6::from(address)),
    }
}

/// Forks. If there are other threads, the child may only make system calls.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the callers comply.
    unsafe { unistd::fork() }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Exited(u8),
    Signaled(u8),
}

/// Reaps one child; `None` if none has ended. Not with `nix`, whose `waitpid` fails if a real-time
/// signal has killed the child.
pub fn reap() -> Option<(Pid, ExitStatus)> {
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
    // Without WUNTRACED and WCONTINUED, there are only these two cases.
    Some(if libc::WIFSIGNALED(status) {
        (pid, ExitStatus::Signaled(number(libc::WTERMSIG(status))))
    } else {
        (pid, ExitStatus::Exited(number(libc::WEXITSTATUS(status))))
    })
}

/// Restores the default action of SIGPIPE, which the Rust runtime ignores.
pub fn restore_sigpipe() -> nix::Result<()> {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

/// Duplicates a descriptor inherited from the parent.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: only borrowed for `fcntl` and the copy. Nothing closes it meanwhile.
    let theirs = unsafe { BorrowedFd::borrow_raw(number) };
    // Before Linux 5.11, `close_on_exec_from` has no effect, and the command would inherit it.
    fcntl(theirs, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // A copy, because other code in this process may own the number.
    theirs.as_fd().try_clone_to_owned().ok()
}

/// A descriptor received in a message.
pub fn received(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just created it for this process.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Sets close-on-exec on all descriptors from `first` on, also those that a parent has leaked.
pub fn close_on_exec_from(first: RawFd) {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // Not supported before Linux 5.11. All descriptors of this program are close-on-exec anyway.
    // SAFETY: this closes nothing.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, first, RawFd::MAX, flag) };
}

/// Closes all descriptors except this one, which becomes 3. 0 to 2 become `/dev/null`.
pub fn keep_only(descriptor: BorrowedFd) -> BorrowedFd<'static> {
    const KEPT: RawFd = 3;
    // SAFETY: numbers and a C string. This process uses no other descriptor.
    unsafe {
        if descriptor.as_raw_fd() != KEPT {
            libc::dup2(descriptor.as_raw_fd(), KEPT);
        }
        libc::syscall(libc::SYS_close_range, KEPT + 1, RawFd::MAX, 0);
        for number in 0..KEPT {
            libc::close(number);
        }
        // Gets the lowest free number, 0.
        libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for number in 1..KEPT {
            libc::dup2(0, number);
        }
        BorrowedFd::borrow_raw(KEPT)
    }
}

/// Exits without running any other code of this process.
pub fn exit_now() -> ! {
    // SAFETY: it does not return.
    unsafe { libc::_exit(0) }
}

fn descriptor(result: i64) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(check(result)?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just created it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
