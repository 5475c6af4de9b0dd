//! The seccomp filter: notifies the supervisor of `connect()` and allows all other system calls.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_USER_NOTIF, sock_filter,
};

/// `AUDIT_ARCH_…` of this program; `None` if the architecture is unsupported.
const ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else {
    None
};
/// Set in system call numbers of the x32 ABI, which shares `AUDIT_ARCH_X86_64`.
const X32: u32 = 0x4000_0000;
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// The instructions; `None` if the architecture is unsupported.
///
/// The filter does not notify of calls from other architectures (32-bit programs): their
/// connections are not redirected.
pub fn program() -> Option<[sock_filter; 7]> {
    let connect = u32::try_from(libc::SYS_connect).ok()?;
    // Other architectures have no such number, so the comparison is always false.
    let connect_x32 = connect | X32;
    Some([
        load(ARCHITECTURE),
        unless_equal(ARCH?, 4), // else: allow
        load(NUMBER),
        if_equal(connect, 1),         // then: notify
        unless_equal(connect_x32, 1), // else: allow
        verdict(SECCOMP_RET_USER_NOTIF),
        verdict(SECCOMP_RET_ALLOW),
    ])
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
}

/// Skips the next `skip` instructions if the loaded value is `value`.
fn if_equal(value: u32, skip: u8) -> sock_filter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, value, skip, 0)
}

/// Skips the next `skip` instructions if the loaded value is not `value`.
fn unless_equal(value: u32, skip: u8) -> sock_filter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
}

fn verdict(action: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, action, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // All opcodes are below 256.
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

    use super::*;

    /// Interprets the filter, which uses only these instructions.
    fn run(architecture: u32, number: u32) -> u32 {
        let program = program().expect("a known architecture");
        let (mut at, mut loaded) = (0, 0);
        loop {
            let instruction = program[at];
            at += 1;
            match u32::from(instruction.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    loaded = if instruction.k == NUMBER { number } else { architecture };
                }
                code if code == BPF_JMP | BPF_JEQ | BPF_K => {
                    let equal = loaded == instruction.k;
                    at += usize::from(if equal { instruction.jt } else { instruction.jf });
                }
                _return => return instruction.k,
            }
        }
    }

    #[test]
    fn notifies_only_of_connect() {
        let (own, connect) =
            (ARCH.expect("known"), u32::try_from(libc::SYS_connect).expect("a number"));
        for (architecture, number, verdict) in [
            (own, connect, SECCOMP_RET_USER_NOTIF),
            (own, connect | X32, SECCOMP_RET_USER_NOTIF),
            (own, connect + 1, SECCOMP_RET_ALLOW),
            (own, 0, SECCOMP_RET_ALLOW),
            // i386: connect is 362, socketcall is 102.
            (0x4000_0003, 362, SECCOMP_RET_ALLOW),
            (0x4000_0003, 102, SECCOMP_RET_ALLOW),
            (0x4000_0003, connect, SECCOMP_RET_ALLOW),
        ] {
            assert_eq!(run(architecture, number), verdict, "{architecture:x} {number}");
        }
    }
}
