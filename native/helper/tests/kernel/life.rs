//! The life of the helper: its remaining privileges, protection from its user, and its end.

use std::{
    collections::HashMap,
    env, fs, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    cases::{Case, Verdict, skip},
    client::{Client, connect_as_user, is_redirected, reached_pod},
    environment::{Environment, POD4, RunAs, SESSION, SLICE},
    helper::{Helper, attached, path},
    process::{Process, output},
    sniffer::Sniffer,
};

const ECHO: u16 = 7003;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("life: without any privilege", |environment| {
            let helper = Helper::start(environment);
            assert_no_privileges(&helper);
            helper.stop();
        }),
        Case::maybe("life: its user cannot get at it", out_of_reach),
        Case::new("life: ends when asked to", |environment| {
            let helper = Helper::start(environment);
            assert_eq!(attached(environment), 2);
            helper.stop();
            assert_eq!(attached(environment), 0);
        }),
        Case::new("life: ends with its input", |environment| {
            ends(environment, |helper| helper.process.close_stdin());
        }),
        Case::new("life: ends with the process it lives for", with_its_process),
        Case::new("life: an open connection over kill -9 of the helper", |environment| {
            open_connection(environment, |mut helper| {
                helper.process.kill();
            });
        }),
        Case::new("life: an open connection over the helper's teardown", |environment| {
            open_connection(environment, Helper::stop);
        }),
        Case::new("life: kills at random moments", kills),
    ];
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        cases.push(Case::new(&format!("life: ends with {signal}"), move |environment| {
            ends(environment, |helper| helper.process.signal(signal));
        }));
    }
    cases
}

/// Checks the lines in `/proc/PID/status` that show privileges.
pub fn assert_no_privileges(helper: &Helper) {
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

/// The successful attempts of a user's process to interfere with the helper, one per line.
pub fn pry_results(environment: &Environment, helper: &Helper) -> String {
    let mut command = environment.command(&RunAs::user(), &environment.plain());
    let slice = environment.cgroup(SLICE);
    output(command.arg("pry").arg(helper.process.pid().to_string()).arg(slice))
}

fn out_of_reach(environment: &Environment) -> Verdict {
    let helper = Helper::start(environment);
    let pry_results = pry_results(environment, &helper);
    helper.stop();
    let setting = "/proc/sys/kernel/unprivileged_bpf_disabled";
    if pry_results == "make a map\n"
        && fs::read_to_string(setting).is_ok_and(|read| read.trim() == "0")
    {
        return skip("unprivileged users may create BPF maps here; all other attempts failed");
    }
    assert_eq!(pry_results, "");
    Ok(())
}

fn ends(environment: &Environment, end: impl Fn(&mut Helper)) {
    let mut helper = Helper::start(environment);
    assert!(is_redirected(&connect_as_user(environment, POD4)));
    end(&mut helper);
    assert_eq!(helper.process.wait().code(), Some(0));
    assert_eq!(attached(environment), 0);
    assert!(reached_pod(&connect_as_user(environment, POD4)));
}

fn with_its_process(environment: &Environment) {
    let mut command = environment.command(&RunAs::user(), &environment.plain());
    let mut beam = Process::start(command.arg("hold"));
    assert_eq!(beam.line(), "up");
    let mut helper = Helper::spawn(
        environment,
        &mut environment.command(&RunAs::user().within(SESSION), &path(environment)),
    );
    assert!(helper.read().expect("ready").get("ready").is_some());
    helper.greet_for(beam.pid());
    helper.apply(&[]).expect("nothing to refuse");
    // The input stays open, because a child of the BEAM may hold it.
    beam.kill();
    assert_eq!(helper.process.wait().code(), Some(0));
    assert_eq!(attached(environment), 0);
}

/// An open connection stays redirected. A new connection goes to the pod.
fn open_connection(environment: &Environment, end: impl Fn(Helper)) {
    let mut command = environment.command(&RunAs::user(), &environment.plain());
    let mut echo = Process::start(command.args(["echo", &format!("127.0.0.1:{ECHO}")]));
    assert_eq!(echo.line(), "up");
    let mut helper = Helper::ready(environment, &RunAs::user().within(SESSION));
    helper.apply(&[(POD4, ECHO)]).expect("a listener");
    let sniffer = Sniffer::new();
    let mut talker = environment.command(&RunAs::user().within(SESSION), &environment.plain());
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
    assert_eq!(attached(environment), 0);
    assert_eq!(echoes(200), 200);
    assert_eq!(sniffer.count(), 0);
    echo.kill();
    assert_eq!(echoes(1), 0);
    assert_eq!(sniffer.count(), 0);
    assert!(reached_pod(&Client::new(environment).connect()));
}

/// A random generator with a fixed seed, so that the delays are the same in each run.
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

/// Kills half of the helpers at a random time around their start, and half when they are ready.
fn kills(environment: &Environment) {
    let count = env::var("K8S_CONNECT_KILLS").map_or(300, |count| count.parse().expect("a number"));
    let run_as = RunAs::user().within(SESSION);
    let start = || {
        let started = Instant::now();
        drop(Helper::ready(environment, &run_as));
        started.elapsed()
    };
    let span = (0..5).map(|_| start()).min().expect("five") * 5 / 4;
    let mut moments = Moments(0x9e37_79b9_7f4a_7c15);
    let (mut were_attached, mut left) = (0, 0);
    for turn in 0..count {
        let mut helper =
            Helper::spawn(environment, &mut environment.command(&run_as, &path(environment)));
        if turn % 2 == 0 {
            assert!(helper.read().is_some_and(|first| first.get("ready").is_some()));
            assert_eq!(attached(environment), 2);
        } else {
            // Nothing is awaited: each kill has its own moment.
            thread::sleep(moments.next(span));
        }
        were_attached += usize::from(attached(environment) > 0);
        helper.process.kill();
        left += attached(environment);
    }
    println!("   {count} kills within {span:?}; attached at the moment: {were_attached}");
    assert_eq!(left, 0);
}
