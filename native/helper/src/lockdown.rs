//! Drops privileges: first what a parent may have passed on ([`begin`]), then, once the programs
//! are attached, access to anything else ([`finish`]).

use std::{collections::BTreeMap, io};

use k8s_connect_wire::Refusal;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope,
};
use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::{refusal::kernel, sys};

/// Standard input and output, map, two links, pidfd of the BEAM, signalfd, `sock_diag`, and a
/// reserve.
const DESCRIPTORS: u64 = 32;

/// Runs before anything is opened or read.
///
/// # Errors
/// [`Refusal::Kernel`]
pub fn begin() -> Result<(), Refusal> {
    let begin = || -> io::Result<()> {
        untraceable()?;
        sys::close_descriptors_from(3)?;
        sys::clear_environment();
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(most), DESCRIPTORS.min(most))?;
        sys::watch_children()?;
        sys::clear_ambient()
    };
    begin().map_err(kernel("dropping privileges"))
}

/// Protects this process from ptrace and `pidfd_getfd` by the user. Repeat it after switching the
/// user, because the kernel then resets the flag to `fs.suid_dumpable`.
///
/// # Errors
/// The kernel's.
pub fn untraceable() -> io::Result<()> {
    Ok(prctl::set_dumpable(false)?)
}

/// Under sudo, switching the user sets the dumpable flag to `fs.suid_dumpable`.
///
/// # Errors
/// [`Refusal::Kernel`] if it is 1: the user could take the descriptors of the programs.
pub fn check_suid_dumpable() -> Result<(), Refusal> {
    let setting = std::fs::read_to_string("/proc/sys/fs/suid_dumpable").unwrap_or_default();
    if setting.trim() == "1" {
        let problem = "fs.suid_dumpable is 1".into();
        return Err(Refusal::Kernel { step: "switching the user".into(), problem });
    }
    Ok(())
}

/// Runs when all descriptors are open, before any input is read.
///
/// # Errors
/// [`Refusal::Kernel`]. A kernel without Landlock is no error.
pub fn finish() -> Result<(), Refusal> {
    let problem = |step: &str, problem: String| Refusal::Kernel { step: step.into(), problem };
    // No child processes, which could keep the descriptors open after the helper exits.
    setrlimit(Resource::RLIMIT_NPROC, 0, 0).map_err(kernel("setting RLIMIT_NPROC"))?;
    prctl::set_no_new_privs().map_err(|error| problem("no_new_privs", error.to_string()))?;
    landlock().map_err(|error| problem("Landlock", error.to_string()))?;
    seccomp().map_err(|error| problem("seccomp", error.to_string()))
}

/// Denies files, TCP, signals to others and abstract sockets of others, as far as the kernel
/// supports it.
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
    for (call, conditions) in LIMITED {
        let condition = |(argument, value): &(u8, u64)| {
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value)
        };
        let rule = SeccompRule::new(conditions.iter().map(condition).collect::<Result<_, _>>()?)?;
        rules.entry(*call).or_default().push(rule);
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

/// System calls that are allowed only with these arguments.
const LIMITED: &[(i64, &[(u8, u64)])] = &[
    // redirects: elements of the open map
    (libc::SYS_bpf, &[(0, sys::BPF_MAP_UPDATE_ELEM as u64)]),
    (libc::SYS_bpf, &[(0, sys::BPF_MAP_DELETE_ELEM as u64)]),
    // `getifaddrs` reads the addresses of this machine over netlink
    (libc::SYS_socket, &[(0, libc::AF_NETLINK as u64), (2, libc::NETLINK_ROUTE as u64)]),
    // `F_GETFD`: debug builds of Rust check a descriptor before closing it
    (libc::SYS_fcntl, &[(1, 1)]),
    // memory that is not executable
    (libc::SYS_mmap, &[(2, READ_AND_WRITE)]),
    (libc::SYS_mmap, &[(2, libc::PROT_NONE as u64)]),
];

const READ_AND_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;

const ALLOWED: &[i64] = &[
    // frames, pidfd and signalfd
    libc::SYS_read,
    libc::SYS_write,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_pidfd_open,
    libc::SYS_close,
    // netlink: listeners, and the addresses of this machine
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_bind,
    libc::SYS_getsockname,
    // used by Rust and the C library
    libc::SYS_brk,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
