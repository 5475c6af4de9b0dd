//! Giving up what is not needed, in this order: what a parent may have left us ([`begin`]), then,
//! when all that needs opening is open, the ways to anything else ([`finish`]).

use std::{collections::BTreeMap, io};

use k8s_connect_wire::Refusal;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope,
};
use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::{policy::kernel, sys};

/// Three standard ones, the BEAM's pidfd, signals, three netlink sockets, the TUN device; and room.
const DESCRIPTORS: u64 = 16;

/// Before anything is opened or read.
///
/// # Errors
/// What the kernel says.
pub fn begin() -> Result<(), Refusal> {
    let begin = || -> io::Result<()> {
        // The user can neither trace us nor read our memory.
        prctl::set_dumpable(false)?;
        sys::close_descriptors_from(3)?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        // No child: one would keep the sockets that everything hangs on.
        setrlimit(Resource::RLIMIT_NPROC, 0, 0)?;
        setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS)?;
        sys::clear_ambient()
    };
    begin().map_err(kernel("giving up what is not needed"))
}

/// After everything is open. The bounding set stays: leaving it takes another capability.
///
/// # Errors
/// What the kernel says. That it is too old for Landlock is no error.
pub fn finish() -> Result<(), Refusal> {
    let problem = |step: &str, problem: String| Refusal::Kernel { step: step.into(), problem };
    prctl::set_no_new_privs().map_err(|error| problem("no_new_privs", error.to_string()))?;
    landlock().map_err(|error| problem("Landlock", error.to_string()))?;
    seccomp().map_err(|error| problem("seccomp", error.to_string()))
}

/// No file, no TCP, no signal and no abstract socket of others, as far as this kernel can.
fn landlock() -> Result<(), landlock::RulesetError> {
    let newest = ABI::V6;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?
        .restrict_self()?;
    Ok(())
}

fn seccomp() -> Result<(), Box<dyn std::error::Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|number| (*number, vec![])).collect();
    // Of the many things that these two can do, one each: to make the TUN device, and what Rust's
    // debug builds ask before they close a descriptor.
    for (call, what) in [(libc::SYS_ioctl, MAKE_TUN), (libc::SYS_fcntl, GET_FLAGS)] {
        let second = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, what)?;
        rules.insert(call, vec![SeccompRule::new(vec![second])?]);
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    Ok(())
}

/// `TUNSETIFF`, which is of another type in each C library.
const MAKE_TUN: u64 = 0x4004_54ca;
/// `F_GETFD`
const GET_FLAGS: u64 = 1;

const ALLOWED: &[i64] = &[
    // frames, and the kernel's word on the BEAM and on signals
    libc::SYS_read,
    libc::SYS_write,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_close,
    // netlink
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    // the capability, on and off
    libc::SYS_capset,
    // what Rust and the C library do by themselves
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
