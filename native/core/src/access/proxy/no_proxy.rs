//! `NO_PROXY`: which servers are connected to directly. The rules are those of Go's
//! `golang.org/x/net/http/httpproxy`, which `kubectl` uses.

use std::net::IpAddr;

use http::Uri;

use crate::access::environment::Environment;

/// Whether the environment exempts this server from its proxy.
pub(super) fn excepts(server: &Uri, environment: &Environment) -> bool {
    let Some(host) = server.host() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let default = if server.scheme_str() == Some("https") { 443 } else { 80 };
    let port = server.port_u16().unwrap_or(default);
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let list = environment.first(["NO_PROXY", "no_proxy"]).map_or("", |(_, list)| list);
    list.split(',').map(str::trim).any(|rule| matches_rule(rule, &host, address, port))
}

fn matches_rule(rule: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if rule == "*" {
        return true;
    }
    if let Some((network, length)) = rule.split_once('/') {
        let network = (network.parse(), length.parse());
        return matches!((network, address), ((Ok(network), Ok(length)), Some(address))
            if contains(network, length, address));
    }
    let (name, only) = split_port(rule);
    if name.is_empty() || only.is_some_and(|only| only != port) {
        return false;
    }
    if let Ok(excepted) = name.parse::<IpAddr>() {
        return address == Some(excepted);
    }
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix('*').unwrap_or(&name);
    match name.strip_prefix('.') {
        Some(domain) => is_below(host, domain),
        None => host == name || is_below(host, name),
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
}

/// `[::1]:8443` and `example.com:8443`; an IPv6 address without brackets has no port.
fn split_port(rule: &str) -> (&str, Option<u16>) {
    if rule.parse::<IpAddr>().is_ok() {
        return (rule, None);
    }
    let (name, port) = match rule.rsplit_once(':') {
        Some((name, port)) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (rule, None),
        },
        None => (rule, None),
    };
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

fn contains(network: IpAddr, length: u32, address: IpAddr) -> bool {
    let same = |network: u128, address: u128, bits: u32| {
        length <= bits && (length == 0 || (network ^ address) >> (bits - length) == 0)
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            same(network.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            same(network.to_bits(), address.to_bits(), 128)
        }
        _ => false,
    }
}
