//! System calls without a wrapper in nix. No other module of this test is `unsafe`.
#![allow(unsafe_code)]

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use nix::sys::socket::{SockaddrLike, SockaddrStorage};

/// The size of `union bpf_attr` for the commands used here.
pub const ATTRIBUTES: usize = 144;

fn check(result: libc::c_long) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(result).expect("descriptors and counts are small"))
}

/// bpf(2). Writes the address of each buffer to the attributes at its offset.
pub fn bpf(
    command: u32,
    attributes: &mut [u8; ATTRIBUTES],
    buffers: &mut [(usize, &mut [u8])],
) -> io::Result<i32> {
    for (offset, buffer) in buffers {
        let address = buffer.as_mut_ptr() as u64;
        attributes[*offset..*offset + 8].copy_from_slice(&address.to_ne_bytes());
    }
    // SAFETY: the attributes have this length. Their pointers refer to buffers that outlive the
    // call, and the attributes contain the lengths.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), ATTRIBUTES) })
}

/// socket(2) for protocols that nix does not support.
pub fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    let socket = check(unsafe { libc::socket(family, kind, protocol) }.into())?;
    Ok(own(socket))
}

/// Takes ownership of a new or inherited descriptor.
pub fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the callers pass descriptors that nothing else owns.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Duplicates a descriptor to a number that exec keeps open.
pub fn keep_as(descriptor: &OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: numbers only; nothing else uses `number`.
    check(unsafe { libc::dup2(descriptor.as_raw_fd(), number) }.into()).map(drop)
}

/// Sets an integer socket option.
pub fn set_option(socket: BorrowedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_bytes(socket, level, name, &value.to_ne_bytes())
}

/// Sets a socket option from bytes.
pub fn set_bytes(socket: BorrowedFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).expect("short");
    let value = value.as_ptr().cast();
    // SAFETY: the value has this length.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) }.into())
        .map(drop)
}

/// `SO_COOKIE`
pub fn cookie(socket: BorrowedFd) -> io::Result<u64> {
    let mut value = 0_u64;
    let mut length: libc::socklen_t = 8;
    let to = (&raw mut value).cast();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_COOKIE);
    // SAFETY: the buffer has the eight bytes of this option.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, to, &raw mut length) };
    check(result.into())?;
    Ok(value)
}

/// sendto(2) with flags that nix does not support.
pub fn send_to(socket: BorrowedFd, bytes: &[u8], flags: i32, to: SocketAddr) -> io::Result<()> {
    let to = SockaddrStorage::from(to);
    let (data, length) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the buffer and the address have these lengths.
    let sent =
        unsafe { libc::sendto(socket.as_raw_fd(), data, length, flags, to.as_ptr(), to.len()) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Switches only this thread to another user. The functions of libc would switch all threads.
pub fn this_thread_becomes(user: u32) -> io::Result<()> {
    let none = ptr::null::<libc::gid_t>();
    // SAFETY: with a length of 0, the kernel does not read the null pointer.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, none) })?;
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, user, user, user) })?;
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) }).map(drop)
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// Sets the permitted, effective and inheritable capabilities.
pub fn set_capabilities(set: u64) -> io::Result<()> {
    let header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
    let low = u32::try_from(set & u64::from(u32::MAX)).expect("masked");
    let high = u32::try_from(set >> 32).expect("shifted");
    let sets = [[low; 3], [high; 3]];
    // SAFETY: one header and two sets, as this version of the call has them.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(drop)
}

fn prctl(option: i32, second: u64, third: u64) -> io::Result<()> {
    // SAFETY: the options used here take numbers only.
    check(unsafe { libc::prctl(option, second, third, 0_u64, 0_u64) }.into()).map(drop)
}

/// Makes an inheritable capability an ambient one.
pub fn raise_ambient(capability: u64) -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, 2, capability)
}

/// Takes a capability out of the bounding set.
pub fn drop_bounding(capability: u64) -> io::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability, 0)
}

/// Keeps the permitted capabilities when the user changes.
pub fn keep_capabilities() -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)
}

/// Allows tracing by any process, because Yama's check is not tested here. Has no effect without
/// Yama.
pub fn allow_any_tracer() {
    let _ = prctl(libc::PR_SET_PTRACER, u64::MAX, 0);
}

/// Whether exec gave this program more privileges than its caller has.
pub fn is_privileged_start() -> bool {
    // SAFETY: numbers only.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Duplicates a descriptor of another process.
pub fn take_descriptor(pid: i32, descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    let process = own(check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?);
    let process = process.as_raw_fd();
    // SAFETY: numbers only.
    let taken = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, descriptor, 0) })?;
    Ok(own(taken))
}

/// Which thread makes the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Submission {
    /// The calling thread.
    Caller,
    /// A worker thread of the ring.
    Worker,
    /// The polling thread of the ring.
    Poller,
}

const SETUP_SQPOLL: u32 = 2;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 2;
const REGISTER_PERSONALITY: u32 = 9;
const OP_CONNECT: u8 = 16;
const ASYNC: u8 = 1 << 4;

/// Indexes into `struct io_uring_params` as an array of u32.
const SQ_TAIL: usize = 11;
const SQ_ARRAY: usize = 16;
const CQ_CQES: usize = 25;

/// An `io_uring` for one request.
pub struct Ring {
    descriptor: OwnedFd,
    parameters: [u32; 30],
    submission: Submission,
}

impl Ring {
    /// Creates the ring.
    pub fn new(submission: Submission) -> io::Result<Self> {
        let mut parameters = [0_u32; 30];
        if submission == Submission::Poller {
            parameters[2] = SETUP_SQPOLL;
        }
        let at = parameters.as_mut_ptr();
        // SAFETY: the parameters have 120 bytes, which the kernel reads and writes.
        let ring = own(check(unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, at) })?);
        Ok(Self { descriptor: ring, parameters, submission })
    }

    /// Registers the credentials of the calling thread.
    pub fn register_personality(&self) -> io::Result<u16> {
        let (ring, none) = (self.descriptor.as_raw_fd(), ptr::null::<u8>());
        let what = REGISTER_PERSONALITY;
        // SAFETY: this operation does not read the null pointer.
        let id = check(unsafe { libc::syscall(libc::SYS_io_uring_register, ring, what, none, 0) })?;
        Ok(u16::try_from(id).expect("few are registered"))
    }

    fn map(&self, offset: i64) -> io::Result<*mut u32> {
        const LENGTH: usize = 4096;
        let (access, ring) = (libc::PROT_READ | libc::PROT_WRITE, self.descriptor.as_raw_fd());
        // SAFETY: a new mapping at an address chosen by the kernel, which stays until the process
        // exits.
        let at =
            unsafe { libc::mmap(ptr::null_mut(), LENGTH, access, libc::MAP_SHARED, ring, offset) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
    }

    /// Connects through the ring, with registered credentials unless `personality` is 0.
    pub fn connect(&self, socket: BorrowedFd, to: SocketAddr, personality: u16) -> io::Result<()> {
        let address = SockaddrStorage::from(to);
        let mut entry = [0_u8; 64];
        entry[0] = OP_CONNECT;
        entry[1] = if self.submission == Submission::Worker { ASYNC } else { 0 };
        entry[4..8].copy_from_slice(&socket.as_raw_fd().to_ne_bytes());
        entry[8..16].copy_from_slice(&u64::from(address.len()).to_ne_bytes());
        entry[16..24].copy_from_slice(&(address.as_ptr() as u64).to_ne_bytes());
        entry[42..44].copy_from_slice(&personality.to_ne_bytes());
        let submissions = self.map(0)?;
        let completions = self.map(0x0800_0000)?;
        let entries = self.map(0x1000_0000)?;
        // The kernel reports offsets in bytes.
        let at = |index: usize| self.parameters[index] as usize / 4;
        // SAFETY: each mapping is a page, and all fields of a ring with four entries are in the
        // first page. The kernel reads the request after the tail is written.
        unsafe {
            ptr::copy_nonoverlapping(entry.as_ptr(), entries.cast::<u8>(), 64);
            submissions.add(at(SQ_ARRAY)).write_volatile(0);
            let tail = submissions.add(at(SQ_TAIL)).cast::<std::sync::atomic::AtomicU32>();
            (*tail).store(1, std::sync::atomic::Ordering::Release);
        }
        let mut flags = ENTER_GETEVENTS;
        if self.submission == Submission::Poller {
            flags |= ENTER_SQ_WAKEUP;
        }
        let (ring, none) = (self.descriptor.as_raw_fd(), ptr::null::<u8>());
        // SAFETY: the null pointer means no signal mask. The address outlives the call, which waits
        // for the completion.
        check(unsafe { libc::syscall(libc::SYS_io_uring_enter, ring, 1, 1, flags, none, 0) })?;
        // SAFETY: the first completion is in the first page, with its result after eight bytes.
        let result = unsafe { completions.add(at(CQ_CQES) + 2).cast::<i32>().read_volatile() };
        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
    }
}
