//! Figures about the kernel redirect: what it takes to make one and to take it back, what it costs
//! the connections that go by it, and what it costs to ask whose a connection is. All of them are
//! from one run, and what is compared was measured in turns. Nothing here judges.
//!
//! `script/bench redirect` prints them. Everything happens in a network namespace that is made for
//! it, so no rule of this machine is touched and nothing can be left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// The tests' own namespace and helper.
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use k8s_connect_netlink::sock_diag::SockDiag;
use k8s_connect_wire::{Answer, Redirect, Request};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Helper, in_namespace, left};

const ROUNDS: usize = 200;
const QUICK_ROUNDS: usize = 5;
// In each round, for each way.
const CONNECTS: usize = 10;
const ROUND_TRIPS: usize = 20;
/// Lookups in a row before the number of other sockets changes.
const LOOKUPS: usize = 20;
const FEW: usize = 10;
const MANY: usize = 10_000;

/// It has a route in the namespace, and nobody who would answer.
const POD: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 8);
/// It has no route there.
const FAR_POD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 8);
/// epmd's, and a node's.
const PORTS: [u16; 2] = [4369, 5555];

fn main() {
    let quick = std::env::args().any(|word| word == "--quick");
    // This process runs once more in the namespace; a "test's" name is all that it is told there.
    in_namespace(if quick { "--quick" } else { "--full" }, || {
        let rounds = if quick { QUICK_ROUNDS } else { ROUNDS };
        let listeners = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        // These first: the empty chains that iptables leaves are in the way of every packet.
        let traffic = traffic(rounds, &listeners);
        let lookups = lookups(rounds, &listeners);
        println!("{rounds} rounds; a ratio is the median of the rounds' ratios");
        print!("{}{traffic}{lookups}", making(rounds, &listeners));
        assert_eq!(left(), "");
    });
}

// The table

/// What was measured under one name, in the order of the rounds.
struct Series {
    name: String,
    times: Vec<Duration>,
}

impl Series {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), times: Vec::new() }
    }

    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.times.push(start.elapsed());
        result
    }

    fn seconds(&self) -> impl Iterator<Item = f64> {
        self.times.iter().map(Duration::as_secs_f64)
    }

    /// Round by round, as the machine is not the same all the time.
    fn ratio_to(&self, base: &Self) -> f64 {
        assert_eq!(self.times.len(), base.times.len());
        percentile(50, self.seconds().zip(base.seconds()).map(|(this, base)| this / base))
    }
}

fn percentile(percent: usize, values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

/// A part of the table; the first of the series is what the others are compared with.
fn section(title: &str, all: &[&Series]) -> String {
    let mut out = format!("\n{title:<50}{:>10}{:>10}{:>8}\n", "median", "p99", "ratio");
    for series in all {
        let [median, p99] = [50, 99].map(|percent| time(percentile(percent, series.seconds())));
        let (name, ratio) = (&series.name, series.ratio_to(all[0]));
        writeln!(out, "  {name:<48}{median:>10}{p99:>10}{ratio:>8.3}").unwrap();
    }
    out
}

fn time(seconds: f64) -> String {
    if seconds < 0.001 {
        format!("{:.1} µs", seconds * 1e6)
    } else {
        format!("{:.2} ms", seconds * 1e3)
    }
}

/// Nobody is always the first, nor always after the same one.
fn in_turns<T>(round: usize, all: &mut [T], mut work: impl FnMut(&mut T)) {
    let count = all.len();
    for place in 0..count {
        let place = if (round / count).is_multiple_of(2) { place } else { count - 1 - place };
        work(&mut all[(round + place) % count]);
    }
}

// Making a redirect and taking it back

/// A way to lead connections to both ports of a pod to the two listeners.
trait Way {
    fn set_up(&mut self);
    fn tear_down(&mut self);
}

struct Candidate {
    pod: Ipv4Addr,
    way: Box<dyn Way>,
    up: Series,
    down: Series,
}

impl Candidate {
    fn new(name: &str, pod: Ipv4Addr, way: impl Way + 'static) -> Self {
        Self { pod, way: Box::new(way), up: Series::new(name), down: Series::new(name) }
    }

    fn round(&mut self, listeners: &[TcpListener; 2]) {
        self.up.measure(|| self.way.set_up());
        for (port, listener) in PORTS.iter().zip(listeners) {
            Connection::open(SocketAddr::new(self.pod.into(), *port), listener).close();
        }
        self.down.measure(|| self.way.tear_down());
    }
}

fn making(rounds: usize, listeners: &[TcpListener; 2]) -> String {
    let vias = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let mut candidates = candidates(vias);
    for round in 0..rounds {
        // In an order of their own, so that the table keeps its.
        let mut order: Vec<_> = candidates.iter_mut().collect();
        in_turns(round, &mut order, |candidate| candidate.round(listeners));
    }
    let ups: Vec<_> = candidates.iter().map(|candidate| &candidate.up).collect();
    let downs: Vec<_> = candidates.iter().map(|candidate| &candidate.down).collect();
    section("two destinations redirected", &ups) + &section("and taken back", &downs)
}

fn candidates(vias: [u16; 2]) -> Vec<Candidate> {
    let near = redirects(POD, vias);
    let mut all = vec![
        Candidate::new(
            "iptables-nft, a process for each",
            POD,
            Iptables::new("iptables-nft", vias),
        ),
        Candidate::new("nft -f -, one process", POD, Nft { program: program("nft"), vias }),
        Candidate::new(
            "our helper, running: a request",
            POD,
            Running { helper: Helper::start(), redirects: near.clone() },
        ),
        Candidate::new("our helper, its whole life", POD, Life { helper: None, redirects: near }),
    ];
    if std::fs::File::open("/dev/net/tun").is_ok() {
        let far = Life { helper: None, redirects: redirects(FAR_POD, vias) };
        all.push(Candidate::new("the same, for an address without a route", FAR_POD, far));
    } else {
        println!("without the helper's own route: /dev/net/tun cannot be opened");
    }
    let legacy = Iptables::new("iptables-legacy", vias);
    if legacy.works() {
        all.insert(1, Candidate::new("iptables-legacy, a process for each", POD, legacy));
    } else {
        println!("without iptables-legacy: this kernel does not let it");
    }
    all
}

fn redirects(pod: Ipv4Addr, vias: [u16; 2]) -> Vec<Redirect> {
    let redirect = |(port, via)| Redirect { to: SocketAddr::new(pod.into(), port), via };
    PORTS.into_iter().zip(vias).map(redirect).collect()
}

/// A helper that is there already, and is there afterwards.
struct Running {
    helper: Helper,
    redirects: Vec<Redirect>,
}

impl Way for Running {
    fn set_up(&mut self) {
        self.helper.apply(&self.redirects).unwrap();
    }

    fn tear_down(&mut self) {
        self.helper.apply(&[]).unwrap();
    }
}

/// A helper from its start to its end.
struct Life {
    helper: Option<Helper>,
    redirects: Vec<Redirect>,
}

impl Way for Life {
    fn set_up(&mut self) {
        self.helper.insert(Helper::start()).apply(&self.redirects).unwrap();
    }

    fn tear_down(&mut self) {
        let mut helper = self.helper.take().unwrap();
        let answer = helper.ask(&Request::Reset { id: 7 });
        assert!(matches!(answer, Answer::Applied { redirects: 0, .. }), "{answer:?}");
        assert!(helper.child.wait().unwrap().success());
    }
}

/// As the article of 2018 does by hand.
struct Iptables {
    program: PathBuf,
    vias: [u16; 2],
}

impl Iptables {
    fn new(name: &str, vias: [u16; 2]) -> Self {
        Self { program: program(name), vias }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // This machine's own lock is none of our business.
        command.env("XTABLES_LOCKFILE", concat!(env!("CARGO_TARGET_TMPDIR"), "/xtables.lock"));
        command.args(["-t", "nat"]).stdin(Stdio::null());
        command
    }

    fn works(&self) -> bool {
        let mut list = self.command();
        list.arg("-S").stdout(Stdio::null()).stderr(Stdio::null());
        list.status().is_ok_and(|status| status.success())
    }

    fn each(&self, action: &str) {
        for (port, via) in PORTS.into_iter().zip(self.vias) {
            let mut command = self.command();
            command.args([action, "OUTPUT", "-p", "tcp", "-d", &POD.to_string()]);
            command.args(["--dport", &port.to_string(), "-j", "DNAT"]);
            command.args(["--to-destination", &format!("127.0.0.1:{via}")]);
            assert!(command.status().unwrap().success(), "{command:?}");
        }
    }
}

impl Way for Iptables {
    fn set_up(&mut self) {
        self.each("-A");
    }

    fn tear_down(&mut self) {
        self.each("-D");
    }
}

struct Nft {
    program: PathBuf,
    vias: [u16; 2],
}

impl Way for Nft {
    fn set_up(&mut self) {
        let mut table = "table ip k8s_connect_bench {\n chain output {\n".to_owned();
        table += "  type nat hook output priority -100; policy accept;\n";
        for (port, via) in PORTS.into_iter().zip(self.vias) {
            writeln!(table, "  ip daddr {POD} tcp dport {port} dnat to 127.0.0.1:{via}").unwrap();
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

/// Looked for once: a search would be a part of every start.
fn program(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let mut places = folders.iter().map(|folder| PathBuf::from(folder).join(name));
    places.find(|place| place.exists()).unwrap_or_else(|| panic!("{name} is not installed"))
}

// What goes by a redirect

/// Both ends of it: with nobody to wake, a round trip is the kernel's work alone.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn open(to: SocketAddr, listener: &TcpListener) -> Self {
        let client = TcpStream::connect(to).unwrap();
        Self::accept(client, listener)
    }

    fn accept(client: TcpStream, listener: &TcpListener) -> Self {
        let (server, from) = listener.accept().unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        for end in [&client, &server] {
            end.set_nodelay(true).unwrap();
        }
        Self { client, server }
    }

    fn round_trip(&mut self) {
        let mut bytes = [7; 64];
        self.client.write_all(&bytes).unwrap();
        self.server.read_exact(&mut bytes).unwrap();
        self.server.write_all(&bytes).unwrap();
        self.client.read_exact(&mut bytes).unwrap();
    }

    /// With something unread it is reset, and not remembered for a minute (`TIME_WAIT`): what comes
    /// after it shall not be measured among thousands of those.
    fn close(mut self) {
        self.server.write_all(b"x").unwrap();
        drop(self.client);
    }
}

/// A way for connections to the listener.
struct Path {
    to: SocketAddr,
    connects: Series,
    round_trips: Series,
    connection: Option<Connection>,
}

impl Path {
    fn new(name: &str, to: SocketAddr) -> Self {
        let (connects, round_trips) = (Series::new(name), Series::new(name));
        Self { to, connects, round_trips, connection: None }
    }

    /// The first of everything is not like the others, and is not measured.
    fn open(&mut self, listener: &TcpListener) {
        self.connection.insert(Connection::open(self.to, listener)).round_trip();
    }

    fn connect(&mut self, listener: &TcpListener) {
        let client = self.connects.measure(|| TcpStream::connect(self.to).unwrap());
        Connection::accept(client, listener).close();
    }

    fn round_trip(&mut self) {
        let connection = self.connection.as_mut().unwrap();
        self.round_trips.measure(|| connection.round_trip());
    }

    fn close(&mut self) {
        self.connection.take().unwrap().close();
    }
}

fn traffic(rounds: usize, listeners: &[TcpListener; 2]) -> String {
    let vias = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let listener = &listeners[1];
    let (here, pod) = (listener.local_addr().unwrap(), SocketAddr::new(POD.into(), PORTS[1]));
    let mut with = [Path::new("direct", here), Path::new("through the redirect", pod)];
    // Any NAT rule makes the kernel keep track of every connection, the direct ones too.
    let mut without = [Path::new("direct, while there is no redirect", here)];
    for round in 0..rounds {
        use_paths(round, &mut without, listener);
        let mut helper = Helper::start();
        helper.apply(&redirects(POD, vias)).unwrap();
        use_paths(round, &mut with, listener);
        helper.end();
    }
    let all = || with.iter().chain(&without);
    section("64 bytes there and back", &all().map(|path| &path.round_trips).collect::<Vec<_>>())
        + &section("connect()", &all().map(|path| &path.connects).collect::<Vec<_>>())
}

fn use_paths(round: usize, paths: &mut [Path], listener: &TcpListener) {
    in_turns(round, paths, |path| path.open(listener));
    for number in 0..CONNECTS {
        in_turns(number, paths, |path| path.connect(listener));
    }
    for number in 0..ROUND_TRIPS {
        in_turns(number, paths, Path::round_trip);
    }
    in_turns(round, paths, Path::close);
}

// Whose a connection is

/// The question that is asked for each accepted connection, beside few and many other sockets.
fn lookups(rounds: usize, listeners: &[TcpListener; 2]) -> String {
    let vias = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let mut helper = Helper::start();
    helper.apply(&redirects(POD, vias)).unwrap();
    let mut kernel = SockDiag::open().unwrap();
    let name = |others| format!("beside {others} other sockets");
    let mut series = [FEW, sockets_allowed()].map(|others| (others, Series::new(name(others))));
    for turn in 0..rounds.div_ceil(LOOKUPS) {
        let mut order: Vec<_> = series.iter_mut().collect();
        in_turns(turn, &mut order, |(others, series)| {
            let others = open_sockets(*others);
            for _ in 0..LOOKUPS.min(rounds) {
                look_up(&mut kernel, series, &listeners[1]);
            }
            others.into_iter().for_each(Connection::close);
        });
    }
    helper.end();
    section("whose an accepted connection is", &[&series[0].1, &series[1].1])
}

fn look_up(kernel: &mut SockDiag, series: &mut Series, listener: &TcpListener) {
    let pod = SocketAddr::new(POD.into(), PORTS[1]);
    let connection = Connection::open(pod, listener);
    let client = connection.server.peer_addr().unwrap();
    let found = series.measure(|| kernel.connection(client, pod)).unwrap().unwrap();
    assert!(found.is_established() && found.uid == nix::unistd::geteuid().as_raw());
    connection.close();
}

/// Both ends of a connection are sockets, and all of them are ours.
fn open_sockets(count: usize) -> Vec<Connection> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    (0..count / 2).map(|_| Connection::open(here, &listener)).collect()
}

/// As many as the limit on descriptors lets us have, with some to spare.
fn sockets_allowed() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let hard = usize::try_from(hard).unwrap_or(usize::MAX);
    MANY.min(hard - 100)
}
