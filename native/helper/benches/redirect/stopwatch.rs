//! The measured processes. Each is an ordinary process of its user, which takes the times itself.
//! It has both ends of its connections, so no other process has to wake up, and only the kernel is
//! measured.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use k8s_connect_sock_diag::SockDiag;
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::geteuid,
};

use crate::{
    environment::{Environment, RunAs},
    process::Process,
    table::in_turns,
};

/// Per round and address.
const SAMPLES: usize = 50;
/// The first samples are slower and are discarded.
const WARM_UP: usize = 50;

/// The controlling side of a measured process.
pub struct Stopwatch {
    process: Process,
    /// The address of the process's listener.
    pub listener: SocketAddr,
}

impl Stopwatch {
    /// Starts a process of this user.
    pub fn start(environment: &Environment, run_as: &RunAs) -> Self {
        let mut process =
            Process::start(environment.command(run_as, &environment.plain()).arg("stopwatch"));
        let listener = process.line().parse().expect("an address");
        Self { process, listener }
    }

    /// Connects to each address in turn. Each connection must reach this process's listener.
    /// Returns the times of `connect()` and of a 64-byte round trip for each address.
    pub fn traffic(&mut self, addresses: &[SocketAddr]) -> Vec<[Vec<Duration>; 2]> {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        self.process.send(format!("traffic {}\n", addresses.join(" ")).as_bytes());
        addresses.iter().map(|_| [(); 2].map(|()| self.read(SAMPLES))).collect()
    }

    /// Measures the lookup of the owner of an accepted connection, with this number of other
    /// sockets open.
    pub fn lookups(&mut self, address: SocketAddr, others: usize, count: usize) -> Vec<Duration> {
        self.process.send(format!("lookups {address} {others} {count}\n").as_bytes());
        self.read(count)
    }

    fn read(&mut self, count: usize) -> Vec<Duration> {
        let bytes = self.process.read(4 * count).expect("the stopwatch failed");
        let number = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().expect("four bytes"));
        let times = bytes.chunks_exact(4).map(number);
        times.map(|nanoseconds| Duration::from_nanos(nanoseconds.into())).collect()
    }
}

/// The measured process: reads one command per line until end of file.
pub fn main() {
    allow_sockets();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        let samples = match words[..] {
            ["traffic", ref addresses @ ..] => traffic(&listener, addresses),
            ["lookups", address, others, count] => {
                let (others, count) = (others.parse().unwrap(), count.parse().unwrap());
                lookups(&listener, address.parse().unwrap(), others, count)
            }
            _ => panic!("no such command: {line}"),
        };
        let number = |time: Duration| u32::try_from(time.as_nanos()).expect("less than 4 seconds");
        let bytes: Vec<_> =
            samples.into_iter().flat_map(|time| number(time).to_ne_bytes()).collect();
        io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()).unwrap();
    }
}

fn measure<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

/// Both ends of a connection.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn open(to: SocketAddr, listener: &TcpListener) -> Self {
        Self::accept(TcpStream::connect(to).unwrap(), listener)
    }

    fn accept(client: TcpStream, listener: &TcpListener) -> Self {
        // NAT may have changed the source port, so it is not compared. No other process connects.
        let (server, _) = listener.accept().unwrap();
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

    /// With unread data, closing resets the connection and leaves no `TIME_WAIT` socket. Thousands
    /// of these would change the measurements.
    fn close(mut self) {
        self.server.write_all(b"x").unwrap();
        drop(self.client);
    }
}

/// An address and its samples.
struct Path {
    to: SocketAddr,
    connects: Vec<Duration>,
    round_trips: Vec<Duration>,
}

impl Path {
    fn new(address: &str) -> Self {
        Self { to: address.parse().unwrap(), connects: vec![], round_trips: vec![] }
    }

    fn connect(&mut self, listener: &TcpListener) {
        let (took, client) = measure(|| TcpStream::connect(self.to).unwrap());
        Connection::accept(client, listener).close();
        self.connects.push(took);
    }
}

fn traffic(listener: &TcpListener, addresses: &[&str]) -> Vec<Duration> {
    let mut paths: Vec<_> = addresses.iter().map(|address| Path::new(address)).collect();
    for number in 0..WARM_UP + SAMPLES {
        in_turns(number, &mut paths, |path| path.connect(listener));
    }
    let open = |path: Path| (Connection::open(path.to, listener), path);
    let mut open: Vec<_> = paths.into_iter().map(open).collect();
    for number in 0..WARM_UP + SAMPLES {
        in_turns(number, &mut open, |(connection, path)| {
            path.round_trips.push(measure(|| connection.round_trip()).0);
        });
    }
    let mut samples = vec![];
    for (connection, path) in open {
        connection.close();
        samples.extend_from_slice(&path.connects[WARM_UP..]);
        samples.extend_from_slice(&path.round_trips[WARM_UP..]);
    }
    samples
}

fn lookups(
    listener: &TcpListener,
    address: SocketAddr,
    others: usize,
    count: usize,
) -> Vec<Duration> {
    let here = listener.local_addr().unwrap();
    // Each connection has two sockets.
    let others: Vec<_> = (0..others / 2).map(|_| Connection::open(here, listener)).collect();
    let mut kernel = SockDiag::open().unwrap();
    let mut lookup = || {
        let connection = Connection::open(address, listener);
        let client = connection.server.peer_addr().unwrap();
        let (took, found) = measure(|| kernel.connection(client, here));
        let found = found.unwrap().expect("it is open");
        assert!(found.is_established() && found.uid == geteuid().as_raw());
        connection.close();
        took
    };
    let mut times: Vec<_> = (0..WARM_UP + count).map(|_| lookup()).collect();
    others.into_iter().for_each(Connection::close);
    times.split_off(WARM_UP)
}

const MANY: usize = 10_000;

/// The number of sockets within the limit on descriptors, with a reserve.
pub fn many_sockets() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    MANY.min(usize::try_from(hard).unwrap_or(usize::MAX) - 100)
}

fn allow_sockets() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}
