//! The seccomp filter: `connect()` is notified, every other system call passes.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_USER_NOTIF, sock_filter,
};

/// `AUDIT_ARCH_…` of the programs that this one was built like; `None` where they are not known.
const ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else {
    None
};
/// Marks the system calls of x32 programs, whose numbers are x86-64's and whose architecture, too.
const X32: u32 = 0x4000_0000;
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// The instructions; `None` for an architecture that is not known.
///
/// A program of another architecture (a 32-bit one) is left alone: its connections go where they
/// would without us.
pub fn program() -> Option<[sock_filter; 7]> {
    let connect = u32::try_from(libc::SYS_connect).ok()?;
    // Elsewhere there is no such number, and the comparison is never true.
    let connect_x32 = connect | X32;
    Some([
        load(ARCHITECTURE),
        unless_equal(ARCH?, 4), // to: allow
        load(NUMBER),
        if_equal(connect, 1),         // to: notify
        unless_equal(connect_x32, 1), // to: allow
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
    // All codes are below 256.
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

    use super::*;

    /// Interprets the four instructions that the filter is made of.
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
    fn only_connect_is_notified() {
        let (own, connect) =
            (ARCH.expect("known"), u32::try_from(libc::SYS_connect).expect("a number"));
        for (architecture, number, verdict) in [
            (own, connect, SECCOMP_RET_USER_NOTIF),
            (own, connect | X32, SECCOMP_RET_USER_NOTIF),
            (own, connect + 1, SECCOMP_RET_ALLOW),
            (own, 0, SECCOMP_RET_ALLOW),
            // i386: 362 is its connect, 102 its socketcall.
            (0x4000_0003, 362, SECCOMP_RET_ALLOW),
            (0x4000_0003, 102, SECCOMP_RET_ALLOW),
            (0x4000_0003, connect, SECCOMP_RET_ALLOW),
        ] {
            assert_eq!(run(architecture, number), verdict, "{architecture:x} {number}");
        }
    }
}
