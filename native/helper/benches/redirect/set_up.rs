//! Adding and removing two redirects.

use std::{
    fmt::Write as _,
    io::Write as _,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    environment::{Environment, RunAs, SESSION, USER},
    helper::{self, Helper},
    process::find,
    stopwatch::Stopwatch,
    table::{Series, in_turns, section},
};

/// The ports of epmd and of a node, at an address where nothing listens on them.
pub const POD: [&str; 2] = ["10.9.0.2:4369", "10.9.0.2:5555"];
/// An address without a route.
const FAR_POD: [&str; 2] = ["10.77.0.8:4369", "10.77.0.8:5555"];

/// A method to redirect two ports of a pod to one listener.
pub trait Method {
    fn set_up(&mut self);
    fn tear_down(&mut self);
}

struct Candidate<'environment> {
    pod: [&'static str; 2],
    way: Box<dyn Method + 'environment>,
    up: Series,
    down: Series,
}

impl<'environment> Candidate<'environment> {
    fn new(name: &str, pod: [&'static str; 2], way: impl Method + 'environment) -> Self {
        Self { pod, way: Box::new(way), up: Series::new(name), down: Series::new(name) }
    }

    fn round(&mut self, user: &mut Stopwatch) {
        self.up.time(|| self.way.set_up());
        user.traffic(&self.pod.map(|address| address.parse().unwrap()));
        self.down.time(|| self.way.tear_down());
    }
}

/// Interleaved.
pub fn measure(environment: &Environment, rounds: usize) -> String {
    let mut user = Stopwatch::start(environment, &RunAs::user().within(SESSION));
    let mut candidates = candidates(environment, user.listener.port());
    for round in 0..rounds {
        in_turns(round, &mut candidates, |candidate| candidate.round(&mut user));
    }
    let ups: Vec<_> = candidates.iter().map(|candidate| &candidate.up).collect();
    let downs: Vec<_> = candidates.iter().map(|candidate| &candidate.down).collect();
    section("add two redirects", &ups) + &section("remove two redirects", &downs)
}

fn candidates(environment: &Environment, via: u16) -> Vec<Candidate<'_>> {
    let running = Running { helper: start_helper(environment), via };
    let mut all = vec![
        Candidate::new(
            "iptables-nft, one process per rule",
            POD,
            Iptables::new(environment, "iptables-nft", via),
        ),
        Candidate::new("nft -f -, one process", POD, Nft::new(via)),
        Candidate::new("helper, already running: one request", POD, running),
        Candidate::new("helper, including start and stop", POD, Life::new(environment, POD, via)),
        Candidate::new(
            "helper, including start and stop, without a route",
            FAR_POD,
            Life::new(environment, FAR_POD, via),
        ),
    ];
    let legacy = Iptables::new(environment, "iptables-legacy", via);
    if legacy.works() {
        all.insert(1, Candidate::new("iptables-legacy, one process per rule", POD, legacy));
    } else {
        println!("skipped: iptables-legacy is not supported by this kernel");
    }
    all
}

/// A helper of the user, started as a BEAM would start it, that is ready.
fn start_helper(environment: &Environment) -> Helper {
    let mut command = Command::new(helper::path(environment));
    // This process is already in the user's session.
    Helper::ready_by(environment, command.uid(USER).gid(USER).env_clear())
}

fn apply(helper: &mut Helper, pod: [&str; 2], via: u16) {
    helper.apply(&pod.map(|to| (to, via))).expect("a listener of the user's");
}

/// A helper that is already running.
struct Running {
    helper: Helper,
    via: u16,
}

impl Method for Running {
    fn set_up(&mut self) {
        apply(&mut self.helper, POD, self.via);
    }

    fn tear_down(&mut self) {
        self.helper.apply(&[]).expect("always allowed");
    }
}

/// A helper, including start and stop.
pub struct Life<'environment> {
    environment: &'environment Environment,
    pod: [&'static str; 2],
    via: u16,
    helper: Option<Helper>,
}

impl<'environment> Life<'environment> {
    /// Does not start it.
    pub fn new(environment: &'environment Environment, pod: [&'static str; 2], via: u16) -> Self {
        Self { environment, pod, via, helper: None }
    }
}

impl Method for Life<'_> {
    fn set_up(&mut self) {
        apply(self.helper.insert(start_helper(self.environment)), self.pod, self.via);
    }

    fn tear_down(&mut self) {
        self.helper.take().expect("set up before").stop();
    }
}

/// The manual iptables rules of the recipe.
struct Iptables {
    program: PathBuf,
    lock: PathBuf,
    via: u16,
}

impl Iptables {
    fn new(environment: &Environment, name: &str, via: u16) -> Self {
        Self { program: program(name), lock: environment.file("xtables.lock"), via }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Not the lock of this machine, because the rules are in another namespace.
        command.env("XTABLES_LOCKFILE", &self.lock).args(["-t", "nat"]).stdin(Stdio::null());
        command
    }

    fn works(&self) -> bool {
        let mut list = self.command();
        list.arg("-S").stdout(Stdio::null()).stderr(Stdio::null());
        list.status().is_ok_and(|status| status.success())
    }

    fn each(&self, action: &str) {
        for to in POD {
            let (address, port) = to.split_once(':').expect("a port");
            let mut command = self.command();
            command.args([action, "OUTPUT", "-p", "tcp", "-d", address, "--dport", port]);
            command.args(["-j", "DNAT", "--to-destination", &format!("127.0.0.1:{}", self.via)]);
            assert!(command.status().unwrap().success(), "{command:?}");
        }
    }
}

impl Method for Iptables {
    fn set_up(&mut self) {
        self.each("-A");
    }

    fn tear_down(&mut self) {
        self.each("-D");
    }
}

/// A new nft table.
pub struct Nft {
    program: PathBuf,
    via: u16,
}

impl Nft {
    /// Does not create it.
    pub fn new(via: u16) -> Self {
        Self { program: program("nft"), via }
    }
}

impl Method for Nft {
    fn set_up(&mut self) {
        let mut table = "table ip k8s_connect_bench {\n chain output {\n".to_owned();
        table += "  type nat hook output priority -100; policy accept;\n";
        for to in POD {
            let (address, port) = to.split_once(':').expect("a port");
            let to = format!("127.0.0.1:{}", self.via);
            writeln!(table, "  ip daddr {address} tcp dport {port} dnat to {to}").unwrap();
        }
        table += " }\n}\n";
        let mut command = Command::new(&self.program);
        let mut nft = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success());
    }

    fn tear_down(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["delete", "table", "ip", "k8s_connect_bench"]).stdin(Stdio::null());
        assert!(command.status().unwrap().success());
    }
}

/// Finds the executable once, so that the search is not measured.
fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed"))
}
