//! System calls without a safe wrapper. No other module is `unsafe`.
#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

mod bpf;

pub use bpf::{
    BPF_MAP_DELETE_ELEM, BPF_MAP_UPDATE_ELEM, create_link, create_map, delete_element,
    load_program, query_programs, update_element,
};

/// `_LINUX_CAPABILITY_VERSION_3`
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Closes descriptors that a parent has leaked.
///
/// # Errors
/// The kernel's.
pub fn close_descriptors_from(first: RawFd) -> io::Result<()> {
    // SAFETY: called before anything is opened, by this process or by a child for itself.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, RawFd::MAX, 0) }).map(drop)
}

/// Closes all descriptors except one.
///
/// # Errors
/// The kernel's.
pub fn close_descriptors_but(kept: BorrowedFd) -> io::Result<()> {
    let kept = kept.as_raw_fd();
    if kept > 0 {
        // SAFETY: a child calls it for itself and uses no other descriptor of the parent
        // afterwards.
        check(unsafe { libc::syscall(libc::SYS_close_range, 0, kept - 1, 0) })?;
    }
    close_descriptors_from(kept + 1)
}

/// Resets `SIGCHLD` to its default action, so that children can be waited for.
///
/// # Errors
/// The kernel's.
pub fn watch_children() -> io::Result<()> {
    // SAFETY: no handler is installed.
    if unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Clears the environment.
pub fn clear_environment() {
    // SAFETY: there is one thread, and no reference into the environment exists.
    unsafe { libc::clearenv() };
}

/// The permitted capabilities as a bit mask.
///
/// # Errors
/// The kernel's.
pub fn permitted_capabilities() -> io::Result<u64> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: this version has one header and two sets.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) })?;
    Ok(u64::from(sets[0].permitted) | u64::from(sets[1].permitted) << 32)
}

/// Sets the permitted and effective capabilities. All others are dropped permanently.
///
/// # Errors
/// The kernel's.
pub fn set_capabilities(permitted: u64, effective: u64) -> io::Result<()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let half = |mask: u64, shift: u32| (mask >> shift & 0xffff_ffff) as u32;
    let sets = [0, 32].map(|shift| CapabilitySets {
        effective: half(effective, shift),
        permitted: half(permitted, shift),
        inheritable: 0,
    });
    // SAFETY: as in `permitted_capabilities`; the kernel only reads them.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(drop)
}

/// Clears the ambient capabilities, which a child would inherit.
///
/// # Errors
/// The kernel's.
pub fn clear_ambient() -> io::Result<()> {
    let (clear, zero): (libc::c_ulong, libc::c_ulong) = (libc::PR_CAP_AMBIENT_CLEAR_ALL as _, 0);
    // SAFETY: numbers only.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, zero, zero, zero) }.into()).map(drop)
}

/// Whether the bounding set has this capability.
#[must_use]
pub fn bounding_set_has(capability: u32) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(capability)) == 1 }
}

/// Whether this executable has file capabilities.
#[must_use]
pub fn file_has_capabilities() -> bool {
    let (file, name): (&CStr, &CStr) = (c"/proc/self/exe", c"security.capability");
    // SAFETY: both are C strings; with the length 0, nothing is written.
    unsafe { libc::getxattr(file.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

/// Opens a pidfd, which becomes readable when the process ends.
///
/// # Errors
/// The kernel's, for example if there is no such process.
pub fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: numbers only.
    let descriptor = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    owned(descriptor)
}

/// A child process, killed and reaped when dropped.
#[derive(Debug)]
pub struct Child(libc::pid_t);

/// Runs `body` in a child process with a copy of our memory.
///
/// # Errors
/// The kernel's.
pub fn fork(body: impl FnOnce()) -> io::Result<Child> {
    // SAFETY: there is one thread, so no other thread can hold a lock in the child.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // A panic must not unwind into the code of the parent.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: it exits without running any other code of the parent.
        unsafe { libc::_exit(0) };
    }
    check(pid.into()).map(|_| Child(pid))
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: numbers and a null pointer. The PID cannot be reused before it is reaped.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// The cookies of a socket: `SO_NETNS_COOKIE` and `SO_COOKIE`.
#[derive(Debug, Clone, Copy)]
pub enum Cookie {
    /// Identifies the socket's network namespace.
    NetworkNamespace = 71,
    /// Identifies the socket.
    Socket = 57,
}

/// Reads a cookie of a socket.
///
/// # Errors
/// The kernel's.
pub fn cookie(socket: BorrowedFd, which: Cookie) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the kernel writes at most `length` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            which as libc::c_int,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    check(result.into()).map(|_| cookie)
}

fn owned(descriptor: i64) -> io::Result<OwnedFd> {
    let descriptor = RawFd::try_from(descriptor).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just created it for this process, with close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
