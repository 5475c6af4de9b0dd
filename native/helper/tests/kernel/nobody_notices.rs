//! Nobody else notices: no rule, route, device or tracked connection, and no time.

use std::fs;

use crate::{
    client::{is_led, user_to},
    ground::{Ground, POD4, SESSION, Who},
    helper::Helper,
    process::{Process, is_there, output, run},
    rows::Row,
};

pub fn rows() -> Vec<Row> {
    vec![Row::new("nobody notices: listings", listings), Row::new("nobody notices: time", time)]
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

/// All that is said about the network, by the programs that are here.
fn listed() -> Vec<String> {
    let there = |words: &&&str| is_there(words.split(' ').next().expect("a program"));
    let mut listed: Vec<_> = LISTINGS.iter().filter(there).map(|words| run(words)).collect();
    // The date is in there.
    for listing in &mut listed {
        *listing = listing.lines().filter(|line| !line.starts_with('#')).collect();
    }
    for file in ["/proc/sys/net/netfilter/nf_conntrack_count", "/proc/net/nf_conntrack"] {
        listed.push(format!("{file}: {:?}", fs::read_to_string(file).ok()));
    }
    listed
}

fn listings(ground: &Ground) {
    // Some programs make what they list.
    listed();
    let before = listed();
    let helper = Helper::start(ground);
    let started = listed();
    assert!(is_led(&user_to(ground, POD4)));
    let used = listed();
    helper.stop();
    assert_eq!(started, before);
    assert_eq!(used, before);
    assert_eq!(listed(), before);
}

const COUNT: &str = "2000";
const ROUNDS: usize = 5;

/// Of another user and of root in the user's own session, where the programs run for them.
fn time(ground: &Ground) {
    let mut command = ground.command(&Who::root(), &ground.plain());
    let mut echo = Process::start(command.args(["echo", "127.0.0.1:7010"]));
    assert_eq!(echo.line(), "up");
    for (name, who) in [("another user", Who::other()), ("root", Who::root())] {
        let (mut without, mut with) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            without.push(measure(ground, &who));
            let helper = Helper::start(ground);
            with.push(measure(ground, &who));
            helper.stop();
        }
        for (place, what) in ["connect", "round trip"].into_iter().enumerate() {
            let (without, with) = (median(&without, place), median(&with, place));
            let ratio = 100 * with / without;
            println!("   {name}, {what}: {with} ns with, {without} ns without, {ratio} %");
        }
    }
}

fn measure(ground: &Ground, who: &Who) -> [u64; 2] {
    let mut command = ground.command(&who.within(SESSION), &ground.plain());
    let said = output(command.args(["measure", "127.0.0.1:7010", COUNT]));
    let mut numbers = said.split_whitespace().map(|number| number.parse().expect("a number"));
    [(); 2].map(|()| numbers.next().expect("two numbers"))
}

fn median(measured: &[[u64; 2]], place: usize) -> u64 {
    let mut values: Vec<_> = measured.iter().map(|pair| pair[place]).collect();
    values.sort_unstable();
    values[values.len() / 2]
}
