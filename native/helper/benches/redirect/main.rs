//! Benchmarks of the kernel route: time to add and remove redirects, cost for connections of the
//! user and of others, and time to look up the owner of a connection. All figures are from one run,
//! and the alternatives are interleaved. There are no pass criteria.
//!
//! `script/bench redirect` runs it as root, in the same environment as the kernel tests: in new
//! namespaces and cgroups, without changing any rule of this machine. Arguments: `[--quick]`. All
//! other processes run the same executable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// The environment of the kernel tests, which has more than the benchmarks use.
#[cfg(target_os = "linux")]
#[allow(dead_code)]
#[path = "../../tests/kernel"]
mod kernel {
    pub mod bpf;
    pub mod environment;
    pub mod helper;
    pub mod keeper;
    pub mod launcher;
    pub mod others;
    pub mod process;
    pub mod sys;
}
#[cfg(target_os = "linux")]
mod lookup;
#[cfg(target_os = "linux")]
mod set_up;
#[cfg(target_os = "linux")]
mod stopwatch;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod traffic;

#[cfg(target_os = "linux")]
use kernel::{bpf, environment, helper, keeper, launcher, others, process, sys};

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (word, rest) = arguments.split_first().map_or(("", &[][..]), |(word, rest)| (word, rest));
    match word {
        "cases" => measure(rest),
        "as" => panic!("{}", launcher::main(rest)),
        "serve" => others::serve(rest),
        "hold" => others::hold(),
        "stopwatch" => stopwatch::main(),
        _ => return keeper::main(&arguments),
    }
    std::process::ExitCode::SUCCESS
}

/// Arguments from the keeper: `cases CGROUP2 ROOT DIRECTORY [--quick]`
#[cfg(target_os = "linux")]
fn measure(arguments: &[String]) {
    let [cgroups, root, directory, options @ ..] = arguments else {
        panic!("cases CGROUP2 ROOT DIRECTORY")
    };
    let environment =
        environment::Environment::make(cgroups.as_ref(), root.as_ref(), directory.as_ref());
    helper::install(&environment);
    // Enters the user's session, where the BEAM would run. All processes started here are in it.
    std::fs::write(environment.cgroup(environment::SESSION).join("cgroup.procs"), "0").unwrap();
    let quick = options.iter().any(|word| word == "--quick");
    let (many, few) = if quick { (3, 3) } else { (250, 100) };
    // iptables comes last, because it leaves empty chains that slow down every packet.
    let traffic = traffic::measure(&environment, many);
    let lookup = lookup::measure(&environment, few);
    let set_up = set_up::measure(&environment, few);
    println!(
        "{many} rounds of traffic, {few} of all others. A ratio is the median over the rounds of the ratio"
    );
    println!("to the first line of the section. ± is its 95 % confidence interval.");
    print!("{set_up}{traffic}{lookup}");
    assert_eq!(helper::attached(&environment), 0);
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("unsupported: the kernel route needs Linux");
}
