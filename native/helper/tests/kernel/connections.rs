//! All kinds of connections.

use crate::{
    cases::{Case, Verdict, skip},
    client::{Client, is_redirected},
    environment::{Environment, MAPPED, POD4, POD6, RunAs},
    helper::Helper,
    sniffer::Sniffer,
};

pub fn cases() -> Vec<Case> {
    let redirected: [(&str, &str, &[&str]); 13] = [
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
    let redirected = redirected.into_iter().map(|(name, to, options)| {
        Case::maybe(&format!("connection: {name}"), move |environment| {
            is_led_so(environment, to, options)
        })
    });
    let untouched = untouched.into_iter().map(|(name, to, options)| {
        Case::new(&format!("connection: untouched: {name}"), move |environment| {
            is_untouched(environment, to, options);
        })
    });
    redirected
        .chain(untouched)
        .chain([
            Case::new("connection: MSG_FASTOPEN with a cookie", fast_open_with_cookie),
            Case::new("connection: bound to 10.9.0.1", |environment| {
                bound(environment, POD4, "10.9.0.1:0", "LISTENER saw 10.9.0.1:");
            }),
            Case::new("connection: bound to fd09::1", |environment| {
                bound(environment, POD6, "[fd09::1]:0", "LISTENER saw [fd09::1]:");
            }),
            Case::new("connection: SO_BINDTODEVICE to the cable times out", bound_to_device),
            Case::new("connection: getpeername names the listener", own_idea_of_the_peer),
        ])
        .collect()
}

fn is_led_so(environment: &Environment, to: &str, options: &[&str]) -> Verdict {
    let helper = Helper::start(environment);
    let sniffer = Sniffer::new();
    let said = Client::new(environment).to(to).options(options).connect();
    let missing = ["error ENOSYS", "error EPROTONOSUPPORT", "error ENOPROTOOPT"];
    if missing.contains(&said.as_str()) {
        return skip(format!("unsupported by this kernel: {said}"));
    }
    assert!(is_redirected(&said), "{said}");
    assert_eq!(sniffer.count(), 0);
    helper.stop();
    Ok(())
}

/// The result without port numbers, which differ each time.
fn without_ports(said: &str) -> String {
    let words = said.split_whitespace();
    let heads = words.map(|word| word.rsplit_once(':').map_or(word, |(head, _)| head));
    heads.collect::<Vec<_>>().join(" ")
}

fn is_untouched(environment: &Environment, to: &str, options: &[&str]) {
    let client = Client::new(environment).to(to).options(options);
    let before = without_ports(&client.connect());
    assert!(!before.starts_with("LISTENER"), "{before}");
    let helper = Helper::start(environment);
    assert_eq!(without_ports(&client.connect()), before);
    helper.stop();
}

fn fast_open_with_cookie(environment: &Environment) {
    let helper = Helper::start(environment);
    // The first connection requests the TCP Fast Open cookie, the others use it.
    for said in Client::new(environment).options(&["fastopen"]).connects(3) {
        assert!(is_redirected(&said), "{said}");
    }
    helper.stop();
}

fn bound(environment: &Environment, to: &str, from: &str, expected: &str) {
    let helper = Helper::start(environment);
    let said = Client::new(environment).to(to).options(&[&format!("bind={from}")]).connect();
    assert!(said.starts_with(expected), "{said}");
    helper.stop();
}

fn bound_to_device(environment: &Environment) {
    let helper = Helper::start(environment);
    let sniffer = Sniffer::new();
    let said = Client::new(environment).options(&["device=cable", "impatient"]).connect();
    assert!(
        ["error EINPROGRESS", "error ETIMEDOUT", "error EAGAIN"].contains(&&said[..]),
        "{said}"
    );
    assert_eq!(sniffer.count(), 0);
    // This socket is bound to a device. Sockets of other users are not affected.
    let said =
        Client::new(environment).run_as(&RunAs::other()).options(&["device=cable"]).connect();
    assert!(said.starts_with("POD saw "), "{said}");
    helper.stop();
}

fn own_idea_of_the_peer(environment: &Environment) {
    let helper = Helper::start(environment);
    let said = Client::new(environment).connect();
    assert!(said.contains("peer 127.0.0.1:7001 "), "{said}");
    let said = Client::new(environment).to(POD6).connect();
    assert!(said.contains("peer [::1]:7001 "), "{said}");
    helper.stop();
}
