//! Names in certificates: their texts, and whether one is the server's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::pki_types::ServerName;

use super::der::{Reader, SEQUENCE};
use crate::text::printable;

/// Names come from the other side, so a message has this much of them.
const MAX_TEXT: usize = 80;

/// `subjectAltName`.
#[derive(Debug, Default)]
pub(super) struct AlternativeNames<'a> {
    /// All of it, to compare.
    pub der: &'a [u8],
    pub dns: Vec<&'a str>,
    pub addresses: Vec<IpAddr>,
    pub emails: Vec<&'a str>,
    pub uris: Vec<&'a str>,
}

impl<'a> AlternativeNames<'a> {
    /// `None` where they are malformed.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut names = Self { der: value, ..Self::default() };
        let mut list = Reader::new(value).nested(SEQUENCE)?;
        while !list.is_empty() {
            let (tag, name, _) = list.any()?;
            match tag {
                0x81 => names.emails.push(ascii(name)?),
                0x82 => names.dns.push(ascii(name)?),
                0x86 => {
                    let uri = ascii(name)?;
                    // Where there is a host, it must look like one.
                    if !is_uri(uri) {
                        return None;
                    }
                    names.uris.push(uri);
                }
                0x87 => names.addresses.push(address(name)?),
                _ => {}
            }
        }
        Some(names)
    }
}

/// 4 or 16 bytes. An IPv4 address in the form of IPv6 is the same one.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from).map(IpAddr::V4),
        16 => <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from).map(IpAddr::V6),
        _ => None,
    }
}

/// The text of an ASN.1 string; `None` where it is malformed.
pub(super) fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        // UTF8String
        0x0c => String::from_utf8(value.into()).ok(),
        // NumericString
        0x12 => {
            let valid = value.iter().all(|&byte| byte.is_ascii_digit() || byte == b' ');
            valid.then(|| latin1(value))
        }
        // PrintableString, with the two characters that Go adds to it.
        0x13 => {
            let valid =
                |&byte: &u8| byte.is_ascii_alphanumeric() || b" '()*+,-./:=?&".contains(&byte);
            value.iter().all(valid).then(|| latin1(value))
        }
        // T61String
        0x14 => Some(latin1(value)),
        // IA5String
        0x16 => ascii(value).map(str::to_owned),
        // BMPString
        0x1e => bmp(value),
        _ => None,
    }
}

fn latin1(value: &[u8]) -> String {
    value.iter().map(|&byte| char::from(byte)).collect()
}

fn bmp(value: &[u8]) -> Option<String> {
    let value = value.strip_suffix(&[0, 0]).unwrap_or(value);
    if !value.len().is_multiple_of(2) {
        return None;
    }
    let points = value.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let valid = |point: u32| !matches!(point, 0xfffe | 0xffff | 0xfdd0..=0xfdef);
    points.map(|point| char::from_u32(point).filter(|_| valid(point))).collect()
}

pub(super) fn ascii(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| text.is_ascii())
}

/// Without control characters, and cut after [`MAX_TEXT`].
pub(super) fn short(text: &str) -> String {
    let mut short = printable(text, MAX_TEXT);
    if text.chars().count() > MAX_TEXT {
        short.push('…');
    }
    short
}

/// Whether a certificate with these names is the server's.
pub(super) fn matches(names: &AlternativeNames, server: &ServerName) -> bool {
    match server {
        ServerName::IpAddress(address) => {
            let address = IpAddr::from(*address).to_canonical();
            names.addresses.iter().any(|known| known.to_canonical() == address)
        }
        ServerName::DnsName(host) => {
            let host = host.as_ref();
            names.dns.iter().any(|pattern| matches_host(pattern, host))
        }
        _ => false,
    }
}

/// As Go: a wildcard stands for the whole first label, and names that are no host names are compared as they
/// are.
fn matches_host(pattern: &str, host: &str) -> bool {
    if !(is_host(host, false) && is_host(pattern, true)) {
        return !matches!(pattern, "" | ".") && pattern.eq_ignore_ascii_case(host);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let (mut patterns, mut labels) = (pattern.split('.'), host.split('.'));
    let (first_pattern, first) = (patterns.next(), labels.next());
    (first_pattern == Some("*") || equal(first_pattern, first)) && {
        let (patterns, labels): (Vec<_>, Vec<_>) = (patterns.collect(), labels.collect());
        patterns.len() == labels.len()
            && patterns.iter().zip(labels).all(|(one, other)| one.eq_ignore_ascii_case(other))
    }
}

fn equal(one: Option<&str>, other: Option<&str>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.eq_ignore_ascii_case(other))
}

/// Whether it looks like a host name. A pattern may begin with a wildcard, and may not end with a dot.
fn is_host(name: &str, is_pattern: bool) -> bool {
    let name = if is_pattern { name } else { name.strip_suffix('.').unwrap_or(name) };
    let is_label = |label: &str| {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && label.bytes().all(valid)
    };
    name != "*"
        && name
            .split('.')
            .enumerate()
            .all(|(index, label)| (is_pattern && index == 0 && label == "*") || is_label(label))
}

/// What Go demands of a domain in a certificate. A constraint may begin with a dot.
pub(super) fn is_domain(name: &str, is_constraint: bool) -> bool {
    let labels = if is_constraint { name.strip_prefix('.').unwrap_or(name) } else { name };
    name.is_empty()
        || (name.bytes().all(|byte| (33..=126).contains(&byte))
            && labels.split('.').all(|label| !label.is_empty()))
}

/// Whether Go parses it as a URI in a certificate.
pub(super) fn is_uri(uri: &str) -> bool {
    let escapes = uri
        .split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()));
    let first = uri.split('/').next().unwrap_or_default();
    !uri.bytes().any(|byte| byte.is_ascii_control())
        && escapes
        && first.split_once(':').is_none_or(|(scheme, _)| is_scheme(scheme))
        && uri_host(uri).is_none_or(is_uri_host)
}

fn is_scheme(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(valid)
}

fn is_uri_host(host: &str) -> bool {
    let valid =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&byte);
    let port = match host.rsplit_once(']') {
        Some((_, port)) => port.strip_prefix(':').or(Some("x").filter(|_| !port.is_empty())),
        None => host.split_once(':').map(|(_, port)| port),
    };
    host.bytes().all(valid)
        && port.is_none_or(|port| port.bytes().all(|digit| digit.is_ascii_digit()))
        && is_domain(host, false)
}

/// The host and the port of a URI.
pub(super) fn uri_host(uri: &str) -> Option<&str> {
    let without_scheme = match uri.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => uri,
    };
    let authority = without_scheme.strip_prefix("//")?.split(['/', '?', '#']).next()?;
    Some(authority.rsplit('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hosts() {
        for (pattern, host) in [
            ("a.example.com", "a.example.com"),
            ("A.Example.com", "a.example.COM"),
            ("a.example.com", "a.example.com."),
            ("*.example.com", "a.example.com"),
            ("a_b.example.com", "a_b.example.com"),
            ("localhost", "localhost"),
        ] {
            assert!(matches_host(pattern, host), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("*.example.com", "example.com"),
            ("*.example.com", "a.b.example.com"),
            ("a*.example.com", "ab.example.com"),
            ("*", "localhost"),
            ("*.*.com", "a.example.com"),
            ("a.*.com", "a.example.com"),
            ("a.example.com.", "a.example.com"),
            ("", "a"),
            ("a.example.com", "b.example.com"),
            ("example.com", "a.example.com"),
        ] {
            assert!(!matches_host(pattern, host), "{pattern} {host}");
        }
    }

    #[test]
    fn addresses_are_no_host_names() {
        let address = AlternativeNames {
            addresses: vec!["::ffff:10.0.0.1".parse().unwrap()],
            ..AlternativeNames::default()
        };
        assert!(matches(&address, &ServerName::try_from("10.0.0.1").unwrap()));
        assert!(!matches(&address, &ServerName::try_from("10.0.0.2").unwrap()));
        let name = AlternativeNames { dns: vec!["10.0.0.1"], ..AlternativeNames::default() };
        assert!(!matches(&name, &ServerName::try_from("10.0.0.1").unwrap()));
    }

    #[test]
    fn texts() {
        assert_eq!(text(0x0c, "é".as_bytes()).unwrap(), "é");
        assert_eq!(text(0x14, &[0xe9]).unwrap(), "é");
        assert_eq!(text(0x1e, &[0, 0xe9, 0, 0]).unwrap(), "é");
        assert_eq!(text(0x1e, &[0xd8, 0]), None);
        assert_eq!(text(0x13, b"a@b"), None);
        assert_eq!(text(0x1c, b"abcd"), None);
        assert_eq!(short("a\nb"), "ab");
        assert_eq!(short(&"x".repeat(100)).chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn uris() {
        assert!(
            is_uri("spiffe://cluster.local/ns/default")
                && is_uri("urn:uuid:1")
                && is_uri("//a/%20")
        );
        assert!(
            !is_uri("1a:b") && !is_uri(":a") && !is_uri("https://a\\b/") && !is_uri("https://a:b/")
        );
        assert!(is_uri("https://[::1]:80/") && !is_uri("https://[::1]x/"));
        assert!(!is_uri("https://a..b/") && !is_uri("https://a/%2") && !is_uri("https://a/\n"));
        assert_eq!(uri_host("https://user@a.b:80/c?d"), Some("a.b:80"));
    }
}
