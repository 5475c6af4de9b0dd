//! The helper's life: what it can do once it runs, who can get at it, and what is left of it.

use std::{
    collections::HashMap,
    env, fs, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    client::{Client, is_at_pod, is_led, user_to},
    ground::{Ground, POD4, SESSION, SLICE, Who},
    helper::{Helper, attached, path},
    process::{Process, output},
    rows::{Row, Verdict, skip},
    sniffer::Sniffer,
};

const ECHO: u16 = 7003;

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::new("life: without any privilege", |ground| {
            let helper = Helper::start(ground);
            has_nothing_left(&helper);
            helper.stop();
        }),
        Row::maybe("life: its user cannot get at it", out_of_reach),
        Row::new("life: ends when asked to", |ground| {
            let helper = Helper::start(ground);
            assert_eq!(attached(ground), 2);
            helper.stop();
            assert_eq!(attached(ground), 0);
        }),
        Row::new("life: ends with its input", |ground| {
            ends(ground, |helper| helper.process.close_stdin());
        }),
        Row::new("life: ends with the process it lives for", with_its_process),
        Row::new("life: an open connection over kill -9 of the helper", |ground| {
            open_connection(ground, |mut helper| {
                helper.process.kill();
            });
        }),
        Row::new("life: an open connection over the helper's teardown", |ground| {
            open_connection(ground, Helper::stop);
        }),
        Row::new("life: kills at random moments", kills),
    ];
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        rows.push(Row::new(&format!("life: ends with {signal}"), move |ground| {
            ends(ground, |helper| helper.process.signal(signal));
        }));
    }
    rows
}

/// The lines of its status that tell of privilege.
pub fn has_nothing_left(helper: &Helper) {
    let path = format!("/proc/{}/status", helper.process.pid());
    let status = fs::read_to_string(path).expect("it runs");
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    let lines: HashMap<_, _> = lines.map(|(name, value)| (name, value.trim())).collect();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(lines[set].trim_start_matches('0'), "", "{set}");
    }
    assert_eq!(lines["NoNewPrivs"], "1");
    assert_eq!(lines["Seccomp"], "2");
    assert_eq!(lines["Uid"], "4300\t4300\t4300\t4300");
    assert_eq!(lines["Gid"], "4300\t4300\t4300\t4300");
}

/// What a process of the user's can do to the helper, a line each.
pub fn pried(ground: &Ground, helper: &Helper) -> String {
    let mut command = ground.command(&Who::user(), &ground.plain());
    let slice = ground.cgroup(SLICE);
    output(command.arg("pry").arg(helper.process.pid().to_string()).arg(slice))
}

fn out_of_reach(ground: &Ground) -> Verdict {
    let helper = Helper::start(ground);
    let pried = pried(ground, &helper);
    helper.stop();
    let setting = "/proc/sys/kernel/unprivileged_bpf_disabled";
    if pried == "make a map\n" && fs::read_to_string(setting).is_ok_and(|read| read.trim() == "0") {
        return skip("everybody may make maps here; all else was out of reach");
    }
    assert_eq!(pried, "");
    Ok(())
}

fn ends(ground: &Ground, end: impl Fn(&mut Helper)) {
    let mut helper = Helper::start(ground);
    assert!(is_led(&user_to(ground, POD4)));
    end(&mut helper);
    assert_eq!(helper.process.wait().code(), Some(0));
    assert_eq!(attached(ground), 0);
    assert!(is_at_pod(&user_to(ground, POD4)));
}

fn with_its_process(ground: &Ground) {
    let mut command = ground.command(&Who::user(), &ground.plain());
    let mut beam = Process::start(command.arg("hold"));
    assert_eq!(beam.line(), "up");
    let mut helper =
        Helper::spawn(ground, &mut ground.command(&Who::user().within(SESSION), &path(ground)));
    assert!(helper.read().expect("ready").get("ready").is_some());
    helper.greet_for(beam.pid());
    helper.apply(&[]).expect("nothing to refuse");
    // Its input stays open: a child of the BEAM's may hold it.
    beam.kill();
    assert_eq!(helper.process.wait().code(), Some(0));
    assert_eq!(attached(ground), 0);
}

/// The bytes of an open connection go on, and none of them to the pod; a new one goes there.
fn open_connection(ground: &Ground, end: impl Fn(Helper)) {
    let mut command = ground.command(&Who::user(), &ground.plain());
    let mut echo = Process::start(command.args(["echo", &format!("127.0.0.1:{ECHO}")]));
    assert_eq!(echo.line(), "up");
    let mut helper = Helper::ready(ground, &Who::user().within(SESSION));
    helper.apply(&[(POD4, ECHO)]).expect("a listener");
    let sniffer = Sniffer::new();
    let mut talker = ground.command(&Who::user().within(SESSION), &ground.plain());
    let mut talker = Process::start(talker.args(["talk", POD4]));
    let mut echoes = |count: usize| {
        (0..count)
            .filter(|_| {
                talker.send(b"\n");
                talker.line() == "echo"
            })
            .count()
    };
    assert_eq!(echoes(10), 10);
    end(helper);
    assert_eq!(attached(ground), 0);
    assert_eq!(echoes(200), 200);
    assert_eq!(sniffer.count(), 0);
    echo.kill();
    assert_eq!(echoes(1), 0);
    assert_eq!(sniffer.count(), 0);
    assert!(is_at_pod(&Client::new(ground).connect()));
}

/// A small generator of numbers: the moments are the same each time, as far as we decide.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let below = u64::try_from(below.as_nanos()).expect("short").max(1);
        Duration::from_nanos(self.0 % below)
    }
}

/// Every second one at a random moment from its start until a little after it is ready, the others
/// when they are ready.
fn kills(ground: &Ground) {
    let count = env::var("K8S_CONNECT_KILLS").map_or(300, |count| count.parse().expect("a number"));
    let who = Who::user().within(SESSION);
    let start = || {
        let started = Instant::now();
        drop(Helper::ready(ground, &who));
        started.elapsed()
    };
    let span = (0..5).map(|_| start()).min().expect("five") * 5 / 4;
    let mut moments = Moments(0x9e37_79b9_7f4a_7c15);
    let (mut were_attached, mut left) = (0, 0);
    for turn in 0..count {
        let mut helper = Helper::spawn(ground, &mut ground.command(&who, &path(ground)));
        if turn % 2 == 0 {
            assert!(helper.read().is_some_and(|first| first.get("ready").is_some()));
            assert_eq!(attached(ground), 2);
        } else {
            thread::sleep(moments.next(span));
        }
        were_attached += usize::from(attached(ground) > 0);
        helper.process.kill();
        left += attached(ground);
    }
    println!("   {count} kills within {span:?}; attached at the moment: {were_attached}");
    assert_eq!(left, 0);
}
