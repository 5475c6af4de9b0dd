//! The system call bpf(2).

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use super::{check, owned};

const BPF_MAP_CREATE: i64 = 0;
/// Also allowed by the seccomp filter.
pub const BPF_MAP_UPDATE_ELEM: i64 = 2;
/// Deletes an element of a map.
pub const BPF_MAP_DELETE_ELEM: i64 = 3;
const BPF_PROG_LOAD: i64 = 5;
const BPF_PROG_QUERY: i64 = 16;
const BPF_LINK_CREATE: i64 = 28;

const BPF_MAP_TYPE_HASH: u32 = 1;
const BPF_PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;

/// Creates a hash map.
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

/// Sets an element of the map.
///
/// # Errors
/// The kernel's.
pub fn update_element(map: &OwnedFd, key: &[u8; 20], value: &[u8; 16]) -> io::Result<()> {
    let element = element(map, key, value.as_ptr() as u64);
    // SAFETY: the only map of this program has keys and values of these lengths.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &element) }.map(drop)
}

/// Deletes an element of the map. A missing element is not an error.
///
/// # Errors
/// The kernel's.
pub fn delete_element(map: &OwnedFd, key: &[u8; 20]) -> io::Result<()> {
    let element = element(map, key, 0);
    // SAFETY: as in `update_element`.
    match unsafe { bpf(BPF_MAP_DELETE_ELEM, &element) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map(drop),
    }
}

fn element(map: &OwnedFd, key: &[u8; 20], value: u64) -> Element {
    Element { map: number(map.as_fd()), padding: 0, key: key.as_ptr() as u64, value, flags: 0 }
}

/// Loads a program for a cgroup hook. An error contains the last message of the verifier.
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
        // SAFETY: the pointers and lengths in the attributes are valid during the call.
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

/// The verifier prints the problem and then statistics.
fn last_line(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let mut lines = text.lines().filter(|line| !line.starts_with("processed ") && !line.is_empty());
    lines.next_back().unwrap_or("no verifier log").chars().take(200).collect()
}

/// Attaches a program to a cgroup until the descriptor is closed.
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

/// The number of programs attached directly to a cgroup, and their attach flags.
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
    // SAFETY: the kernel writes only to the attributes, which outlive the call.
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
/// The attributes must be those of the command, and their pointers valid.
unsafe fn bpf<T>(command: i64, attributes: &T) -> io::Result<i64> {
    // SAFETY: the caller complies.
    let call = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    check(call)
}

/// # Safety
/// As for `bpf`. The kernel may write to the attributes.
unsafe fn bpf_mut<T>(command: i64, attributes: *mut T) -> io::Result<i64> {
    // SAFETY: the caller complies.
    let call = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    check(call)
}
