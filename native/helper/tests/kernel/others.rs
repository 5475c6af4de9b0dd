//! Other processes of the tests: servers, tracers, attackers, measurements.

use std::{
    collections::VecDeque,
    fs,
    io::{self, IoSlice, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        ptrace,
        socket::{
            Backlog, ControlMessage, MsgFlags, SockaddrStorage, bind, connect, listen, sendmsg,
            setsockopt, sockopt,
        },
    },
    unistd::Pid,
};

use crate::{bpf, sys};

/// Listens without accepting.
pub fn deaf(arguments: &[String]) {
    let _listener = TcpListener::bind(&arguments[0]).expect("a free port");
    hold();
}

/// Waits for end of file.
pub fn hold() {
    println!("up");
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

/// `serve NAME ADDRESS…`: greets each TCP connection and answers datagrams. Prints the cookie of
/// each listener.
pub fn serve(arguments: &[String]) {
    let (name, addresses) = arguments.split_first().expect("a name");
    for address in addresses {
        let listener = TcpListener::bind(address).expect(address);
        sys::set_option(listener.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 5).expect("set");
        println!("{}", sys::cookie(listener.as_fd()).expect("each socket has one"));
        let (greeting, datagram) = (name.clone(), name.clone());
        thread::spawn(move || greet(&listener, &greeting));
        let socket = UdpSocket::bind(address).expect(address);
        thread::spawn(move || answer_datagrams(&socket, &datagram));
    }
    hold();
}

fn greet(listener: &TcpListener, name: &str) {
    let mut kept = VecDeque::new();
    for connection in listener.incoming() {
        let Ok(mut connection) = connection else { continue };
        let Ok(peer) = connection.peer_addr() else { continue };
        // In one segment, because the client reads once.
        let _ = connection.write_all(format!("{name} saw {peer}\n").as_bytes());
        kept.push_back(connection);
        if kept.len() > 64 {
            kept.pop_front();
        }
    }
}

fn answer_datagrams(socket: &UdpSocket, name: &str) {
    let mut bytes = [0; 100];
    while let Ok((_, peer)) = socket.recv_from(&mut bytes) {
        let _ = socket.send_to(format!("{name} datagram").as_bytes(), peer);
    }
}

/// `echo ADDRESS`: echoes the data of each connection.
pub fn echo(arguments: &[String]) {
    let listener = TcpListener::bind(&arguments[0]).expect("a free address");
    // The measuring client connects faster than this process accepts.
    listen(&listener, Backlog::new(4096).expect("allowed")).expect("it listens already");
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || send_back(connection));
        }
    });
    hold();
}

fn send_back(mut connection: TcpStream) {
    let _ = connection.set_nodelay(true);
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = connection.read(&mut bytes) {
        if connection.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
}

/// `talk ADDRESS`: connects, and sends and receives four bytes for each line of input.
pub fn talk(arguments: &[String]) {
    let mut connection = TcpStream::connect(&arguments[0]).expect("it listens");
    while io::stdin().read_line(&mut String::new()).is_ok_and(|count| count > 0) {
        let mut back = [0; 4];
        let sent = connection.write_all(b"echo").and_then(|()| connection.read_exact(&mut back));
        println!("{}", if sent.is_ok() { String::from_utf8_lossy(&back) } else { "gone".into() });
    }
}

/// `seize PID`: tests whether this process may trace PID. The trace ends with this process.
pub fn seize(arguments: &[String]) {
    let pid = Pid::from_raw(arguments[0].parse().expect("a process id"));
    match ptrace::seize(pid, ptrace::Options::empty()) {
        Ok(()) => println!("yes"),
        Err(Errno::EPERM) => println!("no"),
        Err(error) => println!("{error:?}"),
    }
}

/// Creates a TCP socket and sends it over stdin.
pub fn make_socket() {
    let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM, 0).expect("a socket");
    let sockets = [socket.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&sockets)];
    let stdin = io::stdin().as_raw_fd();
    sendmsg::<()>(stdin, &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None).expect("sent");
    hold();
}

/// `pry PID CGROUP`: tries to interfere with the helper, and prints the attempts that succeeded.
pub fn pry(arguments: &[String]) {
    let [pid, cgroup] = arguments else { panic!("pry PID CGROUP") };
    let number: i32 = pid.parse().expect("a process id");
    say("list descriptors", fs::read_dir(format!("/proc/{pid}/fd")).is_ok());
    say("read memory", fs::File::open(format!("/proc/{pid}/mem")).is_ok());
    for descriptor in 0..32 {
        say("take a descriptor", sys::take_descriptor(number, descriptor).is_ok());
    }
    let pid = Pid::from_raw(number);
    say("trace", ptrace::seize(pid, ptrace::Options::empty()).is_ok());
    say("list map ids", bpf::ids(bpf::Kind::Map).is_ok());
    say("list link ids", bpf::ids(bpf::Kind::Link).is_ok());
    for id in 1..64 {
        say("map by id", bpf::by_id(bpf::Kind::Map, id).is_ok());
        say("program by id", bpf::by_id(bpf::Kind::Program, id).is_ok());
        say("link by id", bpf::by_id(bpf::Kind::Link, id).is_ok());
    }
    let directory = fs::File::open(cgroup).expect(cgroup);
    say("query the cgroup", bpf::query(&directory, bpf::Hook::Connect4).is_ok());
    say("make a map", bpf::make_map().is_ok());
}

fn say(what: &str, worked: bool) {
    if worked {
        println!("{what}");
    }
}

/// `loop LISTEN TARGET ROUNDS`: a listener that connects to the target for each connection.
pub fn connect_to_oneself(arguments: &[String]) {
    let [address, target, rounds] = arguments else { panic!("loop LISTEN TARGET ROUNDS") };
    let listener = TcpListener::bind(address).expect(address);
    println!("up");
    io::stdin().read_line(&mut String::new()).expect("a line");
    let mut kept = vec![TcpStream::connect(target)];
    let mut arrived = 0;
    for _ in 0..rounds.parse().expect("a number") {
        let Ok(accepted) = listener.accept() else { break };
        arrived += 1;
        kept.push(Ok(accepted.0));
        kept.push(TcpStream::connect(target));
    }
    println!("{arrived}");
}

/// `seed LISTEN TARGET`: connects to the target once from each source port without accepting.
/// Connection tracking then redirects other users' connections, too.
pub fn seed(arguments: &[String]) {
    let target: SocketAddr = arguments[0].parse().expect("an address");
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("there");
    let mut ends = range.split_whitespace().map(|end| end.parse::<u16>().expect("a port"));
    let (first, last) = (ends.next().expect("two"), ends.next().expect("two"));
    let mut seeded = 0;
    for port in first..=last {
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        let socket = sys::socket(libc::AF_INET, kind, 0).expect("a socket");
        let from = SockaddrStorage::from(SocketAddr::from(([10, 9, 0, 1], port)));
        if bind(socket.as_raw_fd(), &from).is_ok() {
            let _ = connect(socket.as_raw_fd(), &SockaddrStorage::from(target));
            seeded += 1;
        }
    }
    println!("{seeded}");
}

/// `beside ADDRESS…`: tries to listen on a port on which another user already listens, and prints
/// the attempts that succeeded.
pub fn beside(arguments: &[String]) {
    let options: [(i32, &[u8]); 3] = [
        (libc::SO_REUSEADDR, &[1, 0, 0, 0]),
        (libc::SO_REUSEPORT, &[1, 0, 0, 0]),
        (libc::SO_BINDTODEVICE, b"lo"),
    ];
    for address in arguments {
        let address: SocketAddr = address.parse().expect(address);
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        for chosen in 0..1 << options.len() {
            let socket = sys::socket(family, libc::SOCK_STREAM, 0).expect("a socket");
            let chosen = options.iter().enumerate().filter(|(place, _)| chosen >> place & 1 == 1);
            for (_, (option, value)) in chosen {
                let socket = socket.as_fd();
                sys::set_bytes(socket, libc::SOL_SOCKET, *option, value).expect("allowed");
            }
            let bound = bind(socket.as_raw_fd(), &SockaddrStorage::from(address));
            let listening = bound.and_then(|()| listen(&socket, Backlog::new(8)?));
            if listening.is_ok() {
                println!("{address}");
            }
        }
    }
}

/// `measure ADDRESS COUNT`: prints the median times of `connect()` and of a round trip, in ns.
pub fn measure(arguments: &[String]) {
    let address: SocketAddr = arguments[0].parse().expect("an address");
    let count = arguments[1].parse().expect("a number");
    let reset = libc::linger { l_onoff: 1, l_linger: 0 };
    let connects = (0..count).map(|_| {
        let started = Instant::now();
        let connection = TcpStream::connect(address).expect("it listens");
        let took = started.elapsed();
        setsockopt(&connection, sockopt::Linger, &reset).expect("a socket");
        took
    });
    let connect = median(connects.collect());
    let mut connection = TcpStream::connect(address).expect("it listens");
    connection.set_nodelay(true).expect("a socket");
    let trips = (0..count).map(|_| {
        let started = Instant::now();
        connection.write_all(&[7; 64]).expect("it reads");
        connection.read_exact(&mut [0; 64]).expect("it echoes");
        started.elapsed()
    });
    println!("{} {}", connect.as_nanos(), median(trips.collect()).as_nanos());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
