//! The system calls that no safe crate has; nothing else in this program is `unsafe`.
#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// `CAP_NET_ADMIN`, the one capability that this program knows.
const NET_ADMIN: u32 = 12;
const MASK: u32 = 1 << NET_ADMIN;
/// `_LINUX_CAPABILITY_VERSION_3`
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Closes what a careless parent has left open.
///
/// # Errors
/// What the kernel says.
pub fn close_descriptors_from(first: RawFd) -> io::Result<()> {
    // SAFETY: called before anything is opened, so no descriptor here has an owner.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, RawFd::MAX, 0) }).map(drop)
}

/// Whether `CAP_NET_ADMIN` may be used.
///
/// # Errors
/// What the kernel says.
pub fn has_net_admin() -> io::Result<bool> {
    let header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both point to what the kernel expects of this version: one header, two sets.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) })?;
    Ok(sets[0].permitted & MASK != 0)
}

/// Turns `CAP_NET_ADMIN` on or off; every other capability is given up for good.
///
/// # Errors
/// What the kernel says.
pub fn use_net_admin(on: bool) -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let effective = if on { MASK } else { 0 };
    let sets = [Sets { effective, permitted: MASK, inheritable: 0 }, Sets::default()];
    // SAFETY: as for `has_net_admin`; the kernel only reads them.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(drop)
}

/// Gives up what a program would inherit by the ambient set.
///
/// # Errors
/// What the kernel says.
pub fn clear_ambient() -> io::Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL;
    // SAFETY: numbers only.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, 0, 0, 0) }.into()).map(drop)
}

/// Whether the bounding set lets a file have `CAP_NET_ADMIN`.
#[must_use]
pub fn bounding_set_has_net_admin() -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, NET_ADMIN, 0, 0, 0) == 1 }
}

/// Whether the file of this program has a capability.
#[must_use]
pub fn file_has_capability() -> bool {
    let (file, name): (&CStr, &CStr) = (c"/proc/self/exe", c"security.capability");
    // SAFETY: both end in a zero byte; with the length 0 nothing is written.
    unsafe { libc::getxattr(file.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

/// A descriptor that can be read when the process has ended.
///
/// # Errors
/// What the kernel says, for example that there is no such process.
pub fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: numbers only.
    let descriptor = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let descriptor = RawFd::try_from(descriptor).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made it, for us; it is close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Makes `/dev/net/tun` the device `name`, which lives as long as the descriptor.
///
/// # Errors
/// What the kernel says.
pub fn make_tun(tun: &OwnedFd, name: &str) -> io::Result<()> {
    // SAFETY: all zeroes is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte at least stays zero.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags =
        i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the request is what this number takes, and outlives the call.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }.into())
        .map(drop)
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
