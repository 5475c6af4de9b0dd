//! What the helper does in a kernel, in namespaces that are made for it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use k8s_connect_wire::{self as wire, Answer, Destination, Redirect, Refusal, Request};
use support::{Helper, in_namespace, left, run};

/// Nobody answers within this.
const SHORT: Duration = Duration::from_millis(300);
/// What does answer may take as long on a busy machine.
const LONG: Duration = Duration::from_secs(20);

fn listen(address: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn redirect(to: &str, via: u16) -> Redirect {
    Redirect { to: to.parse().unwrap(), via }
}

fn connect(to: &str) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&to.parse().unwrap(), SHORT)
}

/// The far end of a connection to `to`, if that arrives at the listener.
fn through(to: &str, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect_timeout(&to.parse().unwrap(), LONG).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"hello").unwrap();
    let mut seen = [0; 5];
    server.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"hello");
    (client, server)
}

/// Waits for the other side's next word: an end, or an error.
fn end_of(stream: &mut TcpStream) -> io::Result<usize> {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.read(&mut [0; 16])
}

#[test]
fn connections_to_an_address_arrive_at_the_listener_in_ipv4_and_ipv6() {
    in_namespace("connections_to_an_address_arrive_at_the_listener_in_ipv4_and_ipv6", || {
        let (listener4, via4) = listen("127.0.0.1:0");
        let (listener6, via6) = listen("[::1]:0");
        let mut helper = Helper::start();
        let set = [redirect("10.9.1.8:5555", via4), redirect("[fd09::8]:5555", via6)];
        let Ok(Answer::Applied { redirects: 2, routed, .. }) = helper.apply(&set) else { panic!() };
        // There is a route to both.
        assert!(routed.is_empty());
        let (client, _server) = through("10.9.1.8:5555", &listener4);
        assert_eq!(client.peer_addr().unwrap(), "10.9.1.8:5555".parse::<SocketAddr>().unwrap());
        through("[fd09::8]:5555", &listener6);
        // Other ports and other addresses are what they were: nobody answers there.
        for to in ["10.9.1.8:5556", "10.9.1.9:5555", "[fd09::8]:5556", "[fd09::9]:5555"] {
            assert!(connect(to).is_err(), "{to}");
        }
        helper.end();
        assert!(connect("10.9.1.8:5555").is_err());
        assert_eq!(left(), "");
    });
}

#[test]
fn the_table_is_what_its_documentation_says() {
    in_namespace("the_table_is_what_its_documentation_says", || {
        let (_listener, via) = listen("127.0.0.1:0");
        let mut helper = Helper::start();
        helper.apply(&[redirect("10.9.1.8:5555", via)]).unwrap();
        let uid = nix::unistd::geteuid();
        let name = format!("k8s_connect_{uid}_0");
        let listed = run(&format!("nft --numeric-priority list table inet {name}"));
        let plain: Vec<_> = listed.split_whitespace().collect();
        let plain = plain.join(" ");
        for part in [
            "flags owner".to_owned(),
            "map to4 { type ipv4_addr . inet_service : ipv4_addr . inet_service".to_owned(),
            format!("elements = {{ 10.9.1.8 . 5555 : 127.0.0.1 . {via} }}"),
            "map to6 { type ipv6_addr . inet_service : ipv6_addr . inet_service }".to_owned(),
            "type nat hook output priority -105; policy accept;".to_owned(),
            format!("meta skuid {uid} dnat ip to ip daddr . tcp dport map @to4"),
            format!("meta skuid {uid} dnat ip6 to ip6 daddr . tcp dport map @to6"),
        ] {
            assert!(plain.contains(&part), "{part} in {plain}");
        }
        assert!(!plain.contains("guard"), "{plain}");
    });
}

#[test]
fn a_set_replaces_the_one_before_and_ends_what_is_gone() {
    in_namespace("a_set_replaces_the_one_before_and_ends_what_is_gone", || {
        let (listener, via) = listen("127.0.0.1:0");
        let mut helper = Helper::start();
        let (first, second) = (redirect("10.9.1.1:5555", via), redirect("10.9.1.2:5555", via));
        helper.apply(&[first, second]).unwrap();
        let (mut gone, mut gone_server) = through("10.9.1.1:5555", &listener);
        let (mut kept, mut kept_server) = through("10.9.1.2:5555", &listener);
        helper.apply(&[second]).unwrap();
        assert_eq!(end_of(&mut gone).unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(end_of(&mut gone_server).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        kept.write_all(b"still").unwrap();
        kept_server.read_exact(&mut [0; 5]).unwrap();
        assert!(connect("10.9.1.1:5555").is_err());
        // Another session's connection to the same address is not touched by the end of this one's.
        let mut another = Helper::start();
        let (other, other_via) = listen("127.0.0.1:0");
        another.apply(&[redirect("10.9.1.2:5555", other_via)]).unwrap();
        let (mut elsewhere, _elsewhere_server) = through("10.9.1.2:5555", &other);
        another.end();
        assert_eq!(end_of(&mut elsewhere).unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        kept.write_all(b"still").unwrap();
        kept_server.read_exact(&mut [0; 5]).unwrap();
        // A refused set changes nothing.
        helper.apply(&[first, redirect("10.9.1.1:22", via)]).unwrap_err();
        through("10.9.1.2:5555", &listener);
        assert!(connect("10.9.1.1:5555").is_err());
        // To another listener, in one step.
        helper.apply(&[redirect("10.9.1.2:5555", other_via)]).unwrap();
        through("10.9.1.2:5555", &other);
        // And all of them at once, there and back.
        let many: Vec<_> =
            (0..1024).map(|port| redirect(&format!("10.9.1.3:{}", 2000 + port), via)).collect();
        helper.apply(&many).unwrap();
        through("10.9.1.3:3023", &listener);
        let (mut open, _open_server) = through("10.9.1.3:2000", &listener);
        let Answer::Applied { redirects: 0, .. } = helper.ask(&Request::Reset { id: 7 }) else {
            panic!()
        };
        // When it answers nothing is left, and it ends by itself.
        assert_eq!(left(), "");
        assert_eq!(end_of(&mut open).unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(helper.child.wait().unwrap().success());
    });
}

#[test]
fn an_address_without_a_route_gets_one_and_nobody_else_notices() {
    in_namespace("an_address_without_a_route_gets_one_and_nobody_else_notices", || {
        if std::fs::OpenOptions::new().write(true).open("/dev/net/tun").is_err() {
            eprintln!("/dev/net/tun is not open to this user: shown on the laptop only");
            return;
        }
        let (listener, via) = listen("127.0.0.1:0");
        let (listener6, via6) = listen("[::1]:0");
        let set = [redirect("10.77.0.8:5555", via), redirect("[fd77::8]:5555", via6)];
        let error = connect("10.77.0.8:80").unwrap_err().kind();
        assert_eq!(error, io::ErrorKind::NetworkUnreachable);
        let mut first = Helper::start();
        let Ok(Answer::Applied { routed, .. }) = first.apply(&set) else { panic!() };
        assert_eq!(
            routed,
            ["10.77.0.8", "fd77::8"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap())
        );
        through("10.77.0.8:5555", &listener);
        through("[fd77::8]:5555", &listener6);
        assert_eq!(connect("10.77.0.8:80").unwrap_err().kind(), error);
        let reset = connect("[fd77::8]:80").unwrap_err().kind();
        assert_eq!(reset, io::ErrorKind::ConnectionRefused);
        // A second session does not live on the first one's route.
        let mut second = Helper::start();
        let Ok(Answer::Applied { routed, .. }) = second.apply(&set) else { panic!() };
        assert_eq!(routed.len(), 2);
        first.child.kill().unwrap();
        first.child.wait().unwrap();
        through("10.77.0.8:5555", &listener);
        // Nor does it keep a route that is not needed.
        let Ok(Answer::Applied { routed, .. }) = second.apply(&set[..1]) else { panic!() };
        assert_eq!(routed.len(), 1);
        second.apply(&set).unwrap();
        through("10.77.0.8:5555", &listener);
        assert_eq!(connect("10.77.0.8:80").unwrap_err().kind(), error);
        second.end();
        assert_eq!(left(), "");
        assert_eq!(connect("10.77.0.8:5555").unwrap_err().kind(), error);
    });
}

#[test]
fn a_route_that_comes_later_is_everybodys_again() {
    in_namespace("a_route_that_comes_later_is_everybodys_again", || {
        if std::fs::OpenOptions::new().write(true).open("/dev/net/tun").is_err() {
            eprintln!("/dev/net/tun is not open to this user: shown on the laptop only");
            return;
        }
        let (listener, via) = listen("127.0.0.1:0");
        let (listener6, via6) = listen("[::1]:0");
        let mut helper = Helper::start();
        let set = [redirect("10.77.0.8:5555", via), redirect("[fd77::8]:5555", via6)];
        helper.apply(&set).unwrap();
        through("10.77.0.8:5555", &listener);
        through("[fd77::8]:5555", &listener6);
        let device = |to: &str| run(&format!("ip route get {to}"));
        assert!(device("10.77.0.8").contains(" kc") && device("fd77::8").contains(" kc"));
        run("ip route add 10.77.0.0/16 via 10.9.0.2");
        run("ip -6 route add fd77::/64 via fd09::2");
        assert!(device("10.77.0.8").contains("cable"));
        // The helper has to hear of it.
        let mut tries = 0;
        while device("fd77::8").contains(" kc") {
            tries += 1;
            assert!(tries < 1000, "it keeps its route");
        }
        through("10.77.0.8:5555", &listener);
        through("[fd77::8]:5555", &listener6);
        let Answer::Status { routed, .. } = helper.ask(&Request::Status { id: 1 }) else {
            panic!()
        };
        assert_eq!(routed, ["10.77.0.8".parse::<std::net::IpAddr>().unwrap()]);
        // And when it goes again, the next set has one of ours.
        run("ip route del 10.77.0.0/16");
        run("ip -6 route del fd77::/64");
        through("10.77.0.8:5555", &listener);
        helper.apply(&set).unwrap();
        through("[fd77::8]:5555", &listener6);
        // Off and on again: the kernel has dropped the routes.
        let name = format!("kc{}_0", nix::unistd::geteuid());
        run(&format!("ip link set {name} down"));
        run(&format!("ip link set {name} up"));
        helper.apply(&set).unwrap();
        through("10.77.0.8:5555", &listener);
        // A user who is kept off by a rule gets no route that would be others'.
        let uid = nix::unistd::geteuid();
        helper.apply(&[]).unwrap();
        for family in ["-4", "-6"] {
            run(&format!("ip {family} rule add uidrange {uid}-{uid} prohibit pref 10"));
        }
        for one in set {
            assert!(matches!(helper.apply(&[one]), Err(Refusal::NoRoute { .. })), "{one:?}");
        }
        let Answer::Status { routed, .. } = helper.ask(&Request::Status { id: 2 }) else {
            panic!()
        };
        assert!(routed.is_empty(), "{routed:?}");
    });
}

#[test]
fn a_user_has_a_few_helpers_and_no_more() {
    in_namespace("a_user_has_a_few_helpers_and_no_more", || {
        let helpers: Vec<_> = (0..wire::MAX_HELPERS).map(|_| Helper::start()).collect();
        let mut one_more = Helper::spawn();
        let pid = std::process::id();
        let answer = one_more.ask(&Request::Hello { major: wire::MAJOR, minor: 0, pid });
        let Answer::Hello { unable: Some(refusal), mechanism: None, .. } = answer else { panic!() };
        assert_eq!(refusal, Refusal::TooManyHelpers { limit: wire::MAX_HELPERS });
        drop(helpers);
        Helper::start().end();
    });
}

#[test]
fn many_changes_take_their_time_and_the_end_does_not() {
    in_namespace("many_changes_take_their_time_and_the_end_does_not", || {
        let (_listener, via) = listen("127.0.0.1:0");
        let mut helper = Helper::start();
        let start = std::time::Instant::now();
        for number in 0..30 {
            helper.apply(&[redirect(&format!("10.9.1.{}:5555", 1 + number % 2), via)]).unwrap();
        }
        // Ten more than are free.
        assert!(start.elapsed() > Duration::from_millis(900));
        helper.end();
        assert_eq!(left(), "");
    });
}

#[test]
fn what_is_not_allowed_is_refused_by_name() {
    in_namespace("what_is_not_allowed_is_refused_by_name", || {
        let (_listener, via) = listen("127.0.0.1:0");
        let (_everywhere, everywhere) = listen("0.0.0.0:0");
        let mut helper = Helper::start();
        let mut refusal = |to: &str, via| helper.apply(&[redirect(to, via)]).unwrap_err();
        for (to, why) in [
            ("10.9.0.1:5555", Destination::Local),
            ("[fd09::1]:5555", Destination::Local),
            ("10.9.255.255:5555", Destination::Broadcast),
            ("127.0.0.1:5555", Destination::Loopback),
        ] {
            let to: SocketAddr = to.parse().unwrap();
            assert_eq!(refusal(&to.to_string(), via), Refusal::BadDestination { to, why });
        }
        assert_eq!(refusal("10.9.1.8:5555", everywhere), Refusal::NoListener { via: everywhere });
        assert_eq!(refusal("[fd09::8]:5555", via), Refusal::NoListener { via });
        assert!(matches!(refusal("10.9.1.8:80", via), Refusal::LowPort { port: 80, .. }));
        let hello = Request::Hello { major: 1, minor: 0, pid: std::process::id() };
        let refused = |answer| match answer {
            Answer::Refused { refusal, .. } => refusal,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(helper.ask(&hello)), Refusal::SecondHello);

        let first = |request: &Request| refused(Helper::spawn().ask(request));
        assert_eq!(first(&Request::Status { id: 1 }), Refusal::NoHello);
        let newer = Request::Hello { major: 2, minor: 0, pid: 1 };
        assert_eq!(first(&newer), Refusal::WrongVersion { major: 1, minor: 0 });
        let nobody = Request::Hello { major: 1, minor: 0, pid: 4_194_305 };
        assert_eq!(first(&nobody), Refusal::NotYourProcess { pid: 4_194_305 });
    });
}

#[test]
fn another_users_listener_is_refused() {
    in_namespace("another_users_listener_is_refused", || {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("only root can be two users: shown on the laptop too");
            return;
        }
        let mut other = Command::new("setpriv")
            .args(["--reuid=4299", "--clear-groups", "bash", "-c"])
            .arg(
                "exec perl -MIO::Socket::INET -e \
                  '$s = IO::Socket::INET->new(Listen => 5, LocalAddr => \"127.0.0.1\") or die; \
                   $| = 1; print $s->sockport, \"\\n\"; <STDIN>'",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(other.stdout.as_mut().unwrap()), &mut port)
            .unwrap();
        let via = port.trim().parse().unwrap();
        let mut helper = Helper::start();
        let refusal = helper.apply(&[redirect("10.9.1.8:5555", via)]).unwrap_err();
        assert_eq!(refusal, Refusal::ForeignListener { via, uid: 4299 });
        drop(other.stdin.take());
        other.wait().unwrap();
    });
}

#[test]
fn everything_ends_with_the_input_the_beam_or_a_signal() {
    in_namespace("everything_ends_with_the_input_the_beam_or_a_signal", || {
        let (listener, via) = listen("127.0.0.1:0");
        let begin = |pid| {
            let mut helper = Helper::start_for(pid);
            helper.apply(&[redirect("10.9.1.8:5555", via)]).unwrap();
            (helper, through("10.9.1.8:5555", &listener))
        };
        let ended = |mut helper: Helper, (mut client, _server): (TcpStream, TcpStream)| {
            assert!(helper.child.wait().unwrap().success());
            assert_eq!(left(), "");
            // In order: it does not go on, in clear, to the address itself.
            let error = end_of(&mut client).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        };

        let (mut helper, ends) = begin(std::process::id());
        drop(helper.stdin.take());
        ended(helper, ends);

        // The pipe stays open in our hands, as in a child of a BEAM that was killed.
        let mut beam = Command::new("sleep").arg("600").spawn().unwrap();
        let (helper, ends) = begin(beam.id());
        beam.kill().unwrap();
        beam.wait().unwrap();
        ended(helper, ends);

        for signal in ["TERM", "INT", "HUP", "QUIT"] {
            let (helper, ends) = begin(std::process::id());
            run(&format!("kill -{signal} {}", helper.child.id()));
            ended(helper, ends);
        }
    });
}

#[test]
fn it_has_given_up_what_it_does_not_need() {
    in_namespace("it_has_given_up_what_it_does_not_need", || {
        let helper = Helper::start();
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", helper.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!(field("Seccomp:"), "2");
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(u64::from_str_radix(&field("CapEff:"), 16).unwrap(), 0);
        assert_eq!(u64::from_str_radix(&field("CapPrm:"), 16).unwrap(), 1 << 12);
        assert_eq!(u64::from_str_radix(&field("CapInh:"), 16).unwrap(), 0);
        assert_eq!(u64::from_str_radix(&field("CapAmb:"), 16).unwrap(), 0);
        let limits =
            std::fs::read_to_string(format!("/proc/{}/limits", helper.child.id())).unwrap();
        for limit in ["Max core file size", "Max processes"] {
            let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
            assert_eq!(line[limit.len()..].split_whitespace().next(), Some("0"), "{line}");
        }
    });
}

/// As many as `K8S_CONNECT_BAD_FRAMES` says; each must be answered with a refusal.
#[test]
fn bad_frames_are_answered_and_change_nothing() {
    in_namespace("bad_frames_are_answered_and_change_nothing", || {
        let count: u64 = std::env::var("K8S_CONNECT_BAD_FRAMES")
            .map_or(1_000_000, |count| count.parse().expect("a number"));
        let (listener, via) = listen("127.0.0.1:0");
        let mut helper = Helper::start();
        helper.apply(&[redirect("10.9.1.8:5555", via)]).unwrap();
        let before = run("nft list ruleset") + &run("ip -o link");
        let mut stdin = helper.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            let mut random = Random(0x9e37_79b9_7f4a_7c15);
            for _ in 0..count {
                stdin.write_all(&random.bad_frame(via)).unwrap();
            }
            stdin
        });
        for number in 0..count {
            let answer = helper.answer();
            assert!(matches!(answer, Answer::Refused { .. }), "{number}: {answer:?}");
        }
        helper.stdin = Some(writer.join().unwrap());
        assert_eq!(run("nft list ruleset") + &run("ip -o link"), before);
        through("10.9.1.8:5555", &listener);
        let Answer::Status { redirects, .. } = helper.ask(&Request::Status { id: 1 }) else {
            panic!()
        };
        assert_eq!(redirects, [redirect("10.9.1.8:5555", via)]);
    });
}

/// xorshift64: the same frames each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.next() % limit).unwrap()
    }

    fn bad_frame(&mut self, via: u16) -> Vec<u8> {
        const BAD: &[&str] = &[
            "127.0.0.1:5555",
            "0.0.0.0:5555",
            "10.9.0.1:5555",
            "224.1.1.1:5555",
            "10.9.1.8:22",
            "255.255.255.255:4369",
            "169.254.169.254:5555",
            "[::1]:5555",
            "[fe80::1]:5555",
            "[::ffff:10.9.1.8]:5555",
            "[fd09::8]:80",
            "240.9.9.9:5555",
        ];
        let body = match self.next() % 5 {
            // Nothing but bytes.
            0 => (0..self.below(200)).map(|_| self.next().to_be_bytes()[0]).collect(),
            // A request that is right but for what it asks.
            1 => {
                let to = BAD[self.below(BAD.len() as u64)];
                format!(r#"{{"apply":{{"id":1,"redirects":[{{"to":"{to}","via":{via}}}]}}}}"#)
                    .into_bytes()
            }
            // A listener that nobody has, or nobody may have.
            2 => {
                let port = self.below(1024);
                format!(
                    r#"{{"apply":{{"id":1,"redirects":[{{"to":"10.9.1.8:5555","via":{port}}}]}}}}"#
                )
                .into_bytes()
            }
            // A request that something has happened to, so that it cannot be read.
            3 => {
                let text = format!(
                    r#"{{"apply":{{"id":1,"redirects":[{{"to":"10.9.1.8:5555","via":{via}}}]}}}}"#
                );
                let mut bytes = text.into_bytes();
                let at = self.below(bytes.len() as u64);
                bytes.truncate(at);
                bytes
            }
            // Far too deep.
            _ => vec![b'['; self.below(4096)],
        };
        let length = u32::try_from(body.len()).unwrap();
        [&length.to_be_bytes(), body.as_slice()].concat()
    }
}
