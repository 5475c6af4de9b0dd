//! The system calls that no safe crate has; nothing else in this program is `unsafe`.
#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
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

/// Closes what a careless parent has left open.
///
/// # Errors
/// The kernel's.
pub fn close_descriptors_from(first: RawFd) -> io::Result<()> {
    // SAFETY: called before anything is opened, by this process or by a child for itself.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, RawFd::MAX, 0) }).map(drop)
}

/// Closes all descriptors but one.
///
/// # Errors
/// The kernel's.
pub fn close_descriptors_but(kept: BorrowedFd) -> io::Result<()> {
    let kept = kept.as_raw_fd();
    if kept > 0 {
        // SAFETY: a child calls it for itself, and uses nothing of its parent's after it.
        check(unsafe { libc::syscall(libc::SYS_close_range, 0, kept - 1, 0) })?;
    }
    close_descriptors_from(kept + 1)
}

/// Lets the end of a child be waited for, whatever the parent has said of `SIGCHLD`.
///
/// # Errors
/// The kernel's.
pub fn watch_children() -> io::Result<()> {
    // SAFETY: the default is no function of ours.
    if unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Forgets the environment.
pub fn clear_environment() {
    // SAFETY: there is one thread, and no reference into the environment is kept.
    unsafe { libc::clearenv() };
}

/// The permitted capabilities, a bit each.
///
/// # Errors
/// The kernel's.
pub fn permitted_capabilities() -> io::Result<u64> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: both point to what the kernel expects of this version: one header, two sets.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) })?;
    Ok(u64::from(sets[0].permitted) | u64::from(sets[1].permitted) << 32)
}

/// Makes these the permitted and the effective capabilities; all others are gone for good.
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
    // SAFETY: as for `permitted_capabilities`; the kernel only reads them.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(drop)
}

/// Gives up what a program would inherit by the ambient set.
///
/// # Errors
/// The kernel's.
pub fn clear_ambient() -> io::Result<()> {
    let (clear, zero): (libc::c_ulong, libc::c_ulong) = (libc::PR_CAP_AMBIENT_CLEAR_ALL as _, 0);
    // SAFETY: numbers only.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, zero, zero, zero) }.into()).map(drop)
}

/// Whether the bounding set lets a file have the capability with this number.
#[must_use]
pub fn bounding_set_has(capability: u32) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(capability)) == 1 }
}

/// Whether the file of this program has capabilities.
#[must_use]
pub fn file_has_capabilities() -> bool {
    let (file, name): (&CStr, &CStr) = (c"/proc/self/exe", c"security.capability");
    // SAFETY: both end in a zero byte; with the length 0 nothing is written.
    unsafe { libc::getxattr(file.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

/// A descriptor that is readable when the process has ended.
///
/// # Errors
/// The kernel's, for example that there is no such process.
pub fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: numbers only.
    let descriptor = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    owned(descriptor)
}

/// A child process. Dropped, it is killed and waited for.
#[derive(Debug)]
pub struct Child(libc::pid_t);

/// Runs `body` in a child process. Nothing of this process's memory changes by it.
///
/// # Errors
/// The kernel's.
pub fn fork(body: impl FnOnce()) -> io::Result<Child> {
    // SAFETY: there is one thread, so no lock is held by another one in the child.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // A panic must not go on in the parent's code.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: it ends the process, without running anything of the parent's.
        unsafe { libc::_exit(0) };
    }
    check(pid.into()).map(|_| Child(pid))
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: numbers, and no place for a status. Until it is waited for, the id is the child's.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// `SO_NETNS_COOKIE` and `SO_COOKIE` of a socket.
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
    // SAFETY: the kernel writes at most the eight bytes that `length` says.
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

// bpf(2)

const BPF_MAP_CREATE: i64 = 0;
/// Sets an element of a map; the seccomp filter knows its number, too.
pub const BPF_MAP_UPDATE_ELEM: i64 = 2;
/// Deletes an element of a map.
pub const BPF_MAP_DELETE_ELEM: i64 = 3;
const BPF_PROG_LOAD: i64 = 5;
const BPF_PROG_QUERY: i64 = 16;
const BPF_LINK_CREATE: i64 = 28;

const BPF_MAP_TYPE_HASH: u32 = 1;
const BPF_PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;

/// Makes a hash map.
///
/// # Errors
/// The kernel's.
pub fn create_map(key: u32, value: u32, entries: u32, name: &CStr) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        inner: u32,
        numa_node: u32,
        name: [u8; 16],
    }
    let attributes = Attributes {
        kind: BPF_MAP_TYPE_HASH,
        key,
        value,
        entries,
        flags: 0,
        inner: 0,
        numa_node: 0,
        name: object_name(name),
    };
    // SAFETY: the attributes have no pointers.
    owned(unsafe { bpf(BPF_MAP_CREATE, &attributes) }?)
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Sets an element. The key and the value must be as long as the map was made for.
///
/// # Errors
/// The kernel's.
pub fn update_element(map: &OwnedFd, key: &[u8; 20], value: &[u8; 16]) -> io::Result<()> {
    let element = element(map, key, value.as_ptr() as u64);
    // SAFETY: the one map of this program has keys and values of these lengths.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &element) }.map(drop)
}

/// Deletes an element; that there is none is no error.
///
/// # Errors
/// The kernel's.
pub fn delete_element(map: &OwnedFd, key: &[u8; 20]) -> io::Result<()> {
    let element = element(map, key, 0);
    // SAFETY: as for `update_element`.
    match unsafe { bpf(BPF_MAP_DELETE_ELEM, &element) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map(drop),
    }
}

fn element(map: &OwnedFd, key: &[u8; 20], value: u64) -> Element {
    Element { map: number(map.as_fd()), padding: 0, key: key.as_ptr() as u64, value, flags: 0 }
}

/// Loads a program for a cgroup hook; on failure with the end of what the verifier says.
///
/// # Errors
/// The kernel's.
pub fn load_program(
    instructions: &[u8],
    license: &CStr,
    attach_type: u32,
    name: &CStr,
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach_type: u32,
    }
    let load = |log: &mut [u8]| {
        let attributes = Attributes {
            kind: BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
            count: u32::try_from(instructions.len() / 8).unwrap_or(u32::MAX),
            instructions: instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: u32::from(!log.is_empty()),
            log_size: u32::try_from(log.len()).unwrap_or(0),
            log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
            kernel_version: 0,
            flags: 0,
            name: object_name(name),
            interface: 0,
            attach_type,
        };
        // SAFETY: the pointers are to as many bytes as the attributes say, and outlive the call.
        unsafe { bpf(BPF_PROG_LOAD, &attributes) }
    };
    match load(&mut []) {
        Ok(descriptor) => owned(descriptor),
        Err(error) => {
            let mut log = vec![0; 1 << 20];
            let _ = load(&mut log);
            Err(io::Error::new(error.kind(), format!("{error}: {}", last_line(&log))))
        }
    }
}

/// The verifier ends with what it has done; before that it says what it does not like.
fn last_line(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let mut lines = text.lines().filter(|line| !line.starts_with("processed ") && !line.is_empty());
    lines.next_back().unwrap_or("no verifier log").chars().take(200).collect()
}

/// Attaches a program to a cgroup for as long as the descriptor is open.
///
/// # Errors
/// The kernel's.
pub fn create_link(program: &OwnedFd, cgroup: BorrowedFd, attach_type: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
    }
    let (program, target) = (number(program.as_fd()), number(cgroup));
    let attributes = Attributes { program, target, attach_type, flags: 0 };
    // SAFETY: the attributes have no pointers.
    owned(unsafe { bpf(BPF_LINK_CREATE, &attributes) }?)
}

/// How many programs are attached to a cgroup itself, and their attach flags.
///
/// # Errors
/// The kernel's.
pub fn query_programs(cgroup: BorrowedFd, attach_type: u32) -> io::Result<(u32, u32)> {
    #[repr(C)]
    struct Attributes {
        target: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        padding: u32,
    }
    let mut attributes = Attributes {
        target: number(cgroup),
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        ids: 0,
        count: 0,
        padding: 0,
    };
    // SAFETY: the kernel writes into the attributes, which outlive the call, and no ids.
    unsafe { bpf_mut(BPF_PROG_QUERY, &raw mut attributes) }?;
    Ok((attributes.count, attributes.attach_flags))
}

fn object_name(name: &CStr) -> [u8; 16] {
    let mut out = [0; 16];
    // The last byte stays zero.
    for (to, from) in out.iter_mut().take(15).zip(name.to_bytes()) {
        *to = *from;
    }
    out
}

fn number(descriptor: BorrowedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// # Safety
/// The attributes are those of the command, and what they point to is valid.
unsafe fn bpf<T>(command: i64, attributes: &T) -> io::Result<i64> {
    // SAFETY: the caller's.
    let call = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    check(call)
}

/// # Safety
/// As for `bpf`; the kernel may write into the attributes.
unsafe fn bpf_mut<T>(command: i64, attributes: *mut T) -> io::Result<i64> {
    // SAFETY: the caller's.
    let call = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    check(call)
}

fn owned(descriptor: i64) -> io::Result<OwnedFd> {
    let descriptor = RawFd::try_from(descriptor).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made it, for us; all of these calls make it close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
