//! Giving up what is not needed, in this order: what a parent may have left us ([`begin`]), then,
//! when the programs are attached, the ways to anything else ([`finish`]).

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

use crate::{refusal::kernel, sys};

/// Standard input and output, the map, two links, the BEAM's pidfd, signals, `sock_diag`; and room.
const DESCRIPTORS: u64 = 32;

/// Before anything is opened or read.
///
/// # Errors
/// [`Refusal::Kernel`]
pub fn begin() -> Result<(), Refusal> {
    let begin = || -> io::Result<()> {
        untraceable()?;
        sys::close_descriptors_from(3)?;
        sys::clear_environment();
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS)?;
        sys::clear_ambient()
    };
    begin().map_err(kernel("giving up what is not needed"))
}

/// The user can neither trace this process nor take its descriptors. To be said anew after a change
/// of user, with which the kernel sets it as `fs.suid_dumpable` says.
///
/// # Errors
/// The kernel's.
pub fn untraceable() -> io::Result<()> {
    Ok(prctl::set_dumpable(false)?)
}

/// After everything is open, and before any input is read.
///
/// # Errors
/// [`Refusal::Kernel`]. A kernel without Landlock is no error.
pub fn finish() -> Result<(), Refusal> {
    let problem = |step: &str, problem: String| Refusal::Kernel { step: step.into(), problem };
    // No child: one would keep the descriptors that everything hangs on.
    setrlimit(Resource::RLIMIT_NPROC, 0, 0).map_err(kernel("giving up children"))?;
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
    for (call, argument, values) in LIMITED {
        let mut allowed = Vec::new();
        for value in *values {
            let equal = SeccompCmpOp::Eq;
            let condition =
                SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, equal, *value)?;
            allowed.push(SeccompRule::new(vec![condition])?);
        }
        rules.insert(*call, allowed);
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

/// Of the many things that a system call can do, those with these values of one argument.
const LIMITED: &[(i64, u8, &[u64])] = &[
    // redirects: elements of the map that is open already
    (libc::SYS_bpf, 0, &[sys::BPF_MAP_UPDATE_ELEM as u64, sys::BPF_MAP_DELETE_ELEM as u64]),
    // `getifaddrs` asks for the machine's own addresses over netlink
    (libc::SYS_socket, 0, &[libc::AF_NETLINK as u64]),
    // `F_GETFD`, which Rust's debug builds ask before they close a descriptor
    (libc::SYS_fcntl, 1, &[1]),
];

const ALLOWED: &[i64] = &[
    // frames, the BEAM's end, and signals
    libc::SYS_read,
    libc::SYS_write,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_pidfd_open,
    libc::SYS_close,
    // netlink: listeners, and the machine's own addresses
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_bind,
    libc::SYS_getsockname,
    // what Rust and the C library do by themselves
    libc::SYS_brk,
    libc::SYS_mmap,
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
