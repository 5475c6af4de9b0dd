//! Each kind of connection.

use crate::{
    client::{Client, is_led},
    ground::{Ground, MAPPED, POD4, POD6, Who},
    helper::Helper,
    rows::{Row, Verdict, skip},
    sniffer::Sniffer,
};

pub fn rows() -> Vec<Row> {
    let led: [(&str, &str, &[&str]); 13] = [
        ("IPv4", POD4, &[]),
        ("IPv6", POD6, &[]),
        ("IPv4 on an IPv6 socket", MAPPED, &[]),
        ("non-blocking", POD4, &["nonblocking"]),
        ("non-blocking, IPv6", POD6, &["nonblocking"]),
        ("MSG_FASTOPEN", POD4, &["fastopen"]),
        ("MSG_FASTOPEN, IPv6", POD6, &["fastopen"]),
        ("TCP_FASTOPEN_CONNECT", POD4, &["fastopen-connect"]),
        ("io_uring", POD4, &["uring"]),
        ("io_uring, IPv6", POD6, &["uring"]),
        ("MPTCP", POD4, &["mptcp"]),
        ("MPTCP, IPv6", POD6, &["mptcp"]),
        ("bound to 0.0.0.0", POD4, &["bind=0.0.0.0:0"]),
    ];
    let untouched: [(&str, &str, &[&str]); 6] = [
        ("IPv4 on an IPv6-only socket", MAPPED, &["v6only"]),
        ("UDP", POD4, &["udp"]),
        ("UDP, IPv6", POD6, &["udp"]),
        ("another port", "10.9.0.2:6444", &[]),
        ("another port, IPv6", "[fd09::2]:6444", &[]),
        ("port 0", "10.9.0.2:0", &[]),
    ];
    let led = led.into_iter().map(|(name, to, options)| {
        Row::maybe(&format!("connection: {name}"), move |ground| is_led_so(ground, to, options))
    });
    let untouched = untouched.into_iter().map(|(name, to, options)| {
        Row::new(&format!("connection: untouched: {name}"), move |ground| {
            is_untouched(ground, to, options);
        })
    });
    led.chain(untouched)
        .chain([
            Row::new("connection: MSG_FASTOPEN with a cookie", fast_open_with_cookie),
            Row::new("connection: bound to 10.9.0.1", |ground| {
                bound(ground, POD4, "10.9.0.1:0", "LISTENER saw 10.9.0.1:");
            }),
            Row::new("connection: bound to fd09::1", |ground| {
                bound(ground, POD6, "[fd09::1]:0", "LISTENER saw [fd09::1]:");
            }),
            Row::new("connection: SO_BINDTODEVICE to the cable times out", bound_to_device),
            Row::new("connection: getpeername names the listener", own_idea_of_the_peer),
        ])
        .collect()
}

fn is_led_so(ground: &Ground, to: &str, options: &[&str]) -> Verdict {
    let helper = Helper::start(ground);
    let sniffer = Sniffer::new();
    let said = Client::new(ground).to(to).options(options).connect();
    let missing = ["error ENOSYS", "error EPROTONOSUPPORT", "error ENOPROTOOPT"];
    if missing.contains(&said.as_str()) {
        return skip(format!("this kernel says {said}"));
    }
    assert!(is_led(&said), "{said}");
    assert_eq!(sniffer.count(), 0);
    helper.stop();
    Ok(())
}

/// What it comes to, but for the port, which is another one each time.
fn without_ports(said: &str) -> String {
    let words = said.split_whitespace();
    let heads = words.map(|word| word.rsplit_once(':').map_or(word, |(head, _)| head));
    heads.collect::<Vec<_>>().join(" ")
}

fn is_untouched(ground: &Ground, to: &str, options: &[&str]) {
    let client = Client::new(ground).to(to).options(options);
    let before = without_ports(&client.connect());
    assert!(!before.starts_with("LISTENER"), "{before}");
    let helper = Helper::start(ground);
    assert_eq!(without_ports(&client.connect()), before);
    helper.stop();
}

fn fast_open_with_cookie(ground: &Ground) {
    let helper = Helper::start(ground);
    // The first one asks for the cookie, and the others have it.
    for said in Client::new(ground).options(&["fastopen"]).connects(3) {
        assert!(is_led(&said), "{said}");
    }
    helper.stop();
}

fn bound(ground: &Ground, to: &str, from: &str, expected: &str) {
    let helper = Helper::start(ground);
    let said = Client::new(ground).to(to).options(&[&format!("bind={from}")]).connect();
    assert!(said.starts_with(expected), "{said}");
    helper.stop();
}

fn bound_to_device(ground: &Ground) {
    let helper = Helper::start(ground);
    let sniffer = Sniffer::new();
    let said = Client::new(ground).options(&["device=cable", "impatient"]).connect();
    assert!(
        ["error EINPROGRESS", "error ETIMEDOUT", "error EAGAIN"].contains(&&said[..]),
        "{said}"
    );
    assert_eq!(sniffer.count(), 0);
    // It is the socket's choice alone; another user's goes where it went.
    let said = Client::new(ground).who(&Who::other()).options(&["device=cable"]).connect();
    assert!(said.starts_with("POD saw "), "{said}");
    helper.stop();
}

fn own_idea_of_the_peer(ground: &Ground) {
    let helper = Helper::start(ground);
    let said = Client::new(ground).connect();
    assert!(said.contains("peer 127.0.0.1:7001 "), "{said}");
    let said = Client::new(ground).to(POD6).connect();
    assert!(said.contains("peer [::1]:7001 "), "{said}");
    helper.stop();
}
