#![allow(clippy::unwrap_used)]

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn chosen(named: Option<&str>, server: &str, pairs: &[(&str, &str)]) -> Option<Proxy> {
    Proxy::choose(named, &server.parse().unwrap(), &environment(pairs)).unwrap()
}

/// Whether `NO_PROXY` with this list exempts the server.
fn excepted(list: &str, server: &str) -> bool {
    let pairs = [("HTTPS_PROXY", "proxy:3128"), ("NO_PROXY", list)];
    chosen(None, server, &pairs).is_none()
}

#[test]
fn the_kubeconfig_first_then_the_environment() {
    let pairs = [("HTTPS_PROXY", "upper:1"), ("https_proxy", "lower:2"), ("NO_PROXY", "*")];
    let named = chosen(Some("http://named:3"), "https://s:6443", &pairs).unwrap();
    assert_eq!((named.address().as_str(), named.from()), ("named:3", KUBECONFIG));
    let upper = chosen(None, "https://s:6443", &pairs[..2]).unwrap();
    assert_eq!((upper.address().as_str(), upper.from()), ("upper:1", "HTTPS_PROXY"));
    let lower = chosen(Some(""), "https://s:6443", &[("HTTPS_PROXY", ""), pairs[1]]).unwrap();
    assert_eq!((lower.address().as_str(), lower.from()), ("lower:2", "https_proxy"));
    assert_eq!(chosen(None, "http://s:8001", &pairs[..2]), None);
    assert_eq!(chosen(None, "https://127.0.0.1:6443", &pairs[..2]), None);
    assert_eq!(chosen(None, "https://[::1]:6443", &pairs[..2]), None);
    assert_eq!(chosen(None, "https://localhost:6443", &pairs[..2]), None);
    assert!(chosen(Some("http://named:3"), "https://localhost:6443", &[]).is_some());
}

#[test]
fn the_password_is_decoded_and_never_shown() {
    let proxy = Proxy::parse("http://me:p%40ss%3A@proxy.test:3128", KUBECONFIG).unwrap();
    assert_eq!(proxy.login, Some(("me".into(), "p@ss:".into())));
    assert_eq!(proxy.authorization().unwrap(), "Basic bWU6cEBzczo=");
    for error in [proxy.rejects_login(), proxy.unreachable("gone".into())] {
        assert!(!format!("{proxy:?} {error:?} {error}").contains("ss"), "{error:?}");
    }
}

#[test]
fn kinds_and_ports() {
    let address = |url| Proxy::parse(url, KUBECONFIG).unwrap().address();
    assert_eq!(address("proxy"), "proxy:80");
    assert_eq!(address("https://proxy/"), "proxy:443");
    assert_eq!(address("socks5://proxy"), "proxy:1080");
    assert_eq!(address("socks5h://[fd00::1]:9"), "[fd00::1]:9");
    for url in ["ftp://me:secret@proxy", "http://", "http://a b", "socks4://x"] {
        let invalid = Proxy::parse(url, KUBECONFIG).unwrap_err();
        assert!(!format!("{invalid:?}").contains("secret"), "{invalid:?}");
    }
}

#[test]
fn servers_that_need_no_proxy() {
    let server = "https://api.shop.example.com:6443";
    for list in [
        "*",
        "example.com",
        ".example.com",
        "*.example.com",
        "EXAMPLE.com",
        "api.shop.example.com",
        "x, example.com",
        "example.com:6443",
    ] {
        assert!(excepted(list, server), "{list}");
    }
    for list in ["", ".", ",", "ample.com", "shop.example.co", "example.com:443", "10.0.0.0/8"] {
        assert!(!excepted(list, server), "{list}");
    }
    assert!(!excepted(".example.com", "https://example.com"));
    assert!(excepted("example.com:443", "https://example.com"));
}

#[test]
fn addresses_that_need_no_proxy() {
    let four = "https://10.200.0.1:6443";
    for list in ["10.200.0.1", "10.200.0.1:6443", "10.0.0.0/8", "10.200.0.1/32", "0.0.0.0/0"] {
        assert!(excepted(list, four), "{list}");
    }
    for list in ["10.200.0.2", "10.200.0.1:443", "10.201.0.0/16", "10.0.0.0/33", "fd00::/8", "0/0"]
    {
        assert!(!excepted(list, four), "{list}");
    }
    let six = "https://[fd00::1]:6443";
    for list in ["fd00::1", "[fd00::1]:6443", "fd00::/8", "[fd00::1]", "::/0"] {
        assert!(excepted(list, six), "{list}");
    }
    for list in ["fd00::2", "fd01::/16", "0.0.0.0/0"] {
        assert!(!excepted(list, six), "{list}");
    }
}

/// The result of connecting through a proxy that gives this answer.
fn answered(answer: &'static [u8], url: &str) -> Result<(), Error> {
    let proxy = Proxy::parse(url, KUBECONFIG).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, answer).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut theirs).await.unwrap();
        match proxy.protocol {
            ProxyProtocol::Socks => socks::through(&mut ours, &proxy, "server", 6443).await,
            _ => tunnel::through(&mut ours, &proxy, "server:6443").await,
        }
    })
}

#[test]
fn what_http_proxies_answer() {
    let answered = |answer| answered(answer, "http://proxy:1");
    assert_eq!(answered(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n"), Ok(()));
    let failure = |answer| answered(answer).unwrap_err();
    assert!(matches!(
        failure(b"HTTP/1.0 407 Auth\r\n\r\n"),
        Error::Unauthorized { credentials_given: false, .. }
    ));
    assert!(matches!(failure(b"HTTP/1.0 403 Filtered\r\n\r\n"),
        Error::Refused { answer, .. } if answer == "403 Filtered"));
    assert!(matches!(failure(b"HTTP/1.0 502 Bad Gateway\r\n\r\n"), Error::BadGateway { .. }));
    for answer in [&b"SSH-2.0-OpenSSH\r\n"[..], b"", b"HTTP/1.", b"HTTP/1.1 40", b"\x15\x03\x01"] {
        assert!(matches!(failure(answer), Error::InvalidAnswer { .. }), "{answer:?}");
    }
}

#[test]
fn what_socks_proxies_answer() {
    let plain = |answer| answered(answer, "socks5://proxy:1");
    assert_eq!(plain(b"\x05\x00\x05\x00\x00\x01\x01\x02\x03\x04\x00\x01"), Ok(()));
    assert_eq!(plain(b"\x05\x00\x05\x00\x00\x03\x02ab\x00\x01"), Ok(()));
    let failure = |answer| plain(answer).unwrap_err();
    assert!(matches!(failure(b"\x05\xff"), Error::Unauthorized { credentials_given: false, .. }));
    assert!(matches!(failure(b"\x05\x00\x05\x02\x00\x01"), Error::Refused { .. }));
    assert!(matches!(failure(b"\x05\x00\x05\x04\x00\x01"), Error::BadGateway { .. }));
    for answer in [&b"HTTP/1.1 400"[..], b"", b"\x05", b"\x05\x00\x05"] {
        assert!(matches!(failure(answer), Error::InvalidAnswer { .. }), "{answer:?}");
    }
    let mine = |answer| answered(answer, "socks5://me:secret@proxy:1");
    let through = b"\x05\x02\x01\x00\x05\x00\x00\x01\x01\x02\x03\x04\x00\x01";
    assert_eq!(mine(through), Ok(()));
    assert!(matches!(
        mine(b"\x05\x02\x01\x01"),
        Err(Error::Unauthorized { credentials_given: true, .. })
    ));
}
