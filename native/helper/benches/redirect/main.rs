//! Figures about the kernel route: how long it takes to set up redirects and to remove them, what
//! they cost the connections of their user and of everybody else, and how long the kernel takes to
//! tell whose a connection is. All figures are from one run, and what is compared was measured in
//! turns. Nothing here judges.
//!
//! `script/bench redirect` prints them. It runs as root where the tests on the kernel run: in
//! namespaces and cgroups of its own, so that no rule of this machine is touched and nothing is left.
//! Arguments: `[--quick]`. The same executable, started by itself, is every other process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// The tests' network, cgroups, users and helper; their rows need more of them than is needed here.
#[cfg(target_os = "linux")]
#[allow(dead_code)]
#[path = "../../tests/kernel"]
mod kernel {
    pub mod bpf;
    pub mod ground;
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
use kernel::{bpf, ground, helper, keeper, launcher, others, process, sys};

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (word, rest) = arguments.split_first().map_or(("", &[][..]), |(word, rest)| (word, rest));
    match word {
        "rows" => measure(rest),
        "as" => panic!("{}", launcher::main(rest)),
        "serve" => others::serve(rest),
        "hold" => others::hold(),
        "stopwatch" => stopwatch::main(),
        _ => return keeper::main(&arguments),
    }
    std::process::ExitCode::SUCCESS
}

/// As the keeper starts it: `rows CGROUP2 ROOT FOLDER [--quick]`
#[cfg(target_os = "linux")]
fn measure(arguments: &[String]) {
    let [cgroups, root, folder, options @ ..] = arguments else { panic!("see above") };
    let ground = ground::Ground::make(cgroups.as_ref(), root.as_ref(), folder.as_ref());
    helper::install(&ground);
    // Where the user's BEAM would be: what starts here is in the user's slice.
    std::fs::write(ground.cgroup(ground::SESSION).join("cgroup.procs"), "0").unwrap();
    let quick = options.iter().any(|word| word == "--quick");
    let (many, few) = if quick { (3, 3) } else { (250, 100) };
    // Last of all iptables: the empty chains that it leaves cost every packet.
    let traffic = traffic::measure(&ground, many);
    let lookup = lookup::measure(&ground, few);
    let set_up = set_up::measure(&ground, few);
    println!(
        "{many} rounds of traffic, {few} of the rest. A ratio is the median of the rounds' ratios"
    );
    println!("to the first line of its part, and ± is how far it may be off (95 %).");
    print!("{set_up}{traffic}{lookup}");
    assert_eq!(helper::attached(&ground), 0);
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the kernel route is for Linux");
}
