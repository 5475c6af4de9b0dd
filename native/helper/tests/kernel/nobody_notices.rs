//! No effect on others: no rule, route, device or tracked connection, and how much time it costs.

use std::fs;

use crate::{
    cases::Case,
    client::{connect_as_user, is_redirected},
    environment::{Environment, POD4, RunAs, SESSION},
    helper::Helper,
    process::{Process, is_installed, output, run},
};

pub fn cases() -> Vec<Case> {
    vec![Case::new("nobody notices: listings", listings), Case::new("nobody notices: time", time)]
}

const LISTINGS: [&str; 8] = [
    "ip -o link",
    "ip -o addr",
    "ip route show table all",
    "ip -6 route show table all",
    "ip rule",
    "nft list ruleset",
    "iptables-save -t nat",
    "ip6tables-save -t nat",
];

/// The network configuration, printed by the tools that are installed.
fn listed() -> Vec<String> {
    let there = |words: &&&str| is_installed(words.split(' ').next().expect("a program"));
    let mut listed: Vec<_> = LISTINGS.iter().filter(there).map(|words| run(words)).collect();
    // Comments contain the date.
    for listing in &mut listed {
        *listing = listing.lines().filter(|line| !line.starts_with('#')).collect();
    }
    for file in ["/proc/sys/net/netfilter/nf_conntrack_count", "/proc/net/nf_conntrack"] {
        listed.push(format!("{file}: {:?}", fs::read_to_string(file).ok()));
    }
    listed
}

fn listings(environment: &Environment) {
    // Some tools create the tables that they list.
    listed();
    let before = listed();
    let helper = Helper::start(environment);
    let started = listed();
    assert!(is_redirected(&connect_as_user(environment, POD4)));
    let used = listed();
    helper.stop();
    assert_eq!(started, before);
    assert_eq!(used, before);
    assert_eq!(listed(), before);
}

const COUNT: &str = "2000";
const ROUNDS: usize = 5;

/// Measures another user and root in the user's session, where the programs run for them.
fn time(environment: &Environment) {
    let mut command = environment.command(&RunAs::root(), &environment.plain());
    let mut echo = Process::start(command.args(["echo", "127.0.0.1:7010"]));
    assert_eq!(echo.line(), "up");
    for (name, run_as) in [("another user", RunAs::other()), ("root", RunAs::root())] {
        let (mut without, mut with) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            without.push(measure(environment, &run_as));
            let helper = Helper::start(environment);
            with.push(measure(environment, &run_as));
            helper.stop();
        }
        for (place, what) in ["connect", "round trip"].into_iter().enumerate() {
            let (without, with) = (median(&without, place), median(&with, place));
            let ratio = 100 * with / without;
            println!("   {name}, {what}: {with} ns with, {without} ns without, {ratio} %");
        }
    }
}

fn measure(environment: &Environment, run_as: &RunAs) -> [u64; 2] {
    let mut command = environment.command(&run_as.within(SESSION), &environment.plain());
    let result = output(command.args(["measure", "127.0.0.1:7010", COUNT]));
    let mut numbers = result.split_whitespace().map(|number| number.parse().expect("a number"));
    [(); 2].map(|()| numbers.next().expect("two numbers"))
}

fn median(measured: &[[u64; 2]], place: usize) -> u64 {
    let mut values: Vec<_> = measured.iter().map(|pair| pair[place]).collect();
    values.sort_unstable();
    values[values.len() / 2]
}
