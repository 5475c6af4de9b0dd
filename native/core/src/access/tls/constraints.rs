//! Name constraints: for which names an authority may sign.

use std::net::IpAddr;

use super::{
    der::{self, Reader, SEQUENCE},
    names::{self, AlternativeNames},
};

const PERMITTED: u8 = 0xa0;
const EXCLUDED: u8 = 0xa1;

/// `nameConstraints`.
#[derive(Debug)]
pub(super) struct NameConstraints<'a> {
    permitted: Subtrees<'a>,
    excluded: Subtrees<'a>,
}

/// Names of each kind that are permitted, or excluded.
#[derive(Debug, Default)]
struct Subtrees<'a> {
    dns: Vec<&'a str>,
    /// Addresses with their masks.
    networks: Vec<(&'a [u8], &'a [u8])>,
    emails: Vec<&'a str>,
    uris: Vec<&'a str>,
}

impl<'a> NameConstraints<'a> {
    /// The constraints, and whether all of their kinds are known; `None` where they are malformed.
    pub fn parse(value: &'a [u8]) -> Option<(Self, bool)> {
        let mut both = Reader::new(der::only(value, SEQUENCE)?);
        let (permitted, excluded) = (both.optional(PERMITTED)?, both.optional(EXCLUDED)?);
        let (permitted, excluded) = (permitted.unwrap_or_default(), excluded.unwrap_or_default());
        if !both.is_empty() || (permitted.is_empty() && excluded.is_empty()) {
            return None;
        }
        let (permitted, all_permitted) = Subtrees::parse(permitted)?;
        let (excluded, all_excluded) = Subtrees::parse(excluded)?;
        Some((Self { permitted, excluded }, all_permitted && all_excluded))
    }

    /// How many comparisons [`NameConstraints::refused`] makes at most.
    pub fn cost(&self, names: &AlternativeNames) -> usize {
        let AlternativeNames { dns, addresses, emails, uris, .. } = names;
        let pairs = |count: usize, constraints: fn(&Subtrees) -> usize| {
            count.saturating_mul(constraints(&self.permitted) + constraints(&self.excluded))
        };
        pairs(dns.len(), |subtrees| subtrees.dns.len())
            .saturating_add(pairs(addresses.len(), |subtrees| subtrees.networks.len()))
            .saturating_add(pairs(emails.len(), |subtrees| subtrees.emails.len()))
            .saturating_add(pairs(uris.len(), |subtrees| subtrees.uris.len()))
    }

    /// The first of the names that is not allowed.
    pub fn refused(&self, names: &AlternativeNames) -> Option<String> {
        for address in &names.addresses {
            let is_in = |subtrees: &Subtrees| {
                subtrees.networks.iter().any(|(base, mask)| contains(base, mask, *address))
            };
            let limited = !self.permitted.networks.is_empty();
            let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
            // Go compares such an address as IPv4 with the permitted networks, of which none is then of its length.
            if (limited && (mapped || !is_in(&self.permitted))) || is_in(&self.excluded) {
                return Some(address.to_string());
            }
        }
        let (permitted, excluded) = (&self.permitted, &self.excluded);
        for name in &names.dns {
            if !names::is_domain(name, false) || !allowed(&permitted.dns, &excluded.dns, name) {
                return Some(names::short(name));
            }
        }
        for uri in &names.uris {
            let host = names::uri_host(uri).and_then(without_port);
            if !host.is_some_and(|host| allowed(&permitted.uris, &excluded.uris, host)) {
                return Some(names::short(uri));
            }
        }
        for email in &names.emails {
            if !allowed_email(&permitted.emails, &excluded.emails, email) {
                return Some(names::short(email));
            }
        }
        None
    }
}

impl<'a> Subtrees<'a> {
    fn parse(subtrees: &'a [u8]) -> Option<(Self, bool)> {
        let (mut list, mut found, mut all_known) = (Reader::new(subtrees), Self::default(), true);
        while !list.is_empty() {
            let (tag, value, _) = list.nested(SEQUENCE)?.any()?;
            match tag {
                0x81 => {
                    let email = names::ascii(value)?;
                    let valid = if email.contains('@') {
                        mailbox(email).is_some()
                    } else {
                        names::is_domain(email, true)
                    };
                    found.emails.push(valid.then_some(email)?);
                }
                0x82 => found.dns.push(domain(value)?),
                0x86 => {
                    let domain = domain(value)?;
                    found.uris.push(domain.parse::<IpAddr>().is_err().then_some(domain)?);
                }
                0x87 => {
                    let (base, mask) = value.split_at(value.len() / 2);
                    let valid = matches!(value.len(), 8 | 32) && is_mask(mask);
                    found.networks.push(valid.then_some((base, mask))?);
                }
                _ => all_known = false,
            }
        }
        Some((found, all_known))
    }
}

fn domain(value: &[u8]) -> Option<&str> {
    names::ascii(value).filter(|name| names::is_domain(name, true))
}

/// Ones, then zeros.
fn is_mask(mask: &[u8]) -> bool {
    let bits = mask.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    bits.skip_while(|&bit| bit == 1).all(|bit| bit == 0)
}

fn contains(base: &[u8], mask: &[u8], address: IpAddr) -> bool {
    let bytes = match &address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.len() == base.len()
        && bytes.iter().zip(base).zip(mask).all(|((byte, base), mask)| byte & mask == base & mask)
}

fn allowed(permitted: &[&str], excluded: &[&str], name: &str) -> bool {
    (permitted.is_empty() || permitted.iter().any(|constraint| is_below(name, constraint)))
        && !excluded.iter().any(|constraint| is_below(name, constraint) || covers(name, constraint))
}

/// Whether the name is the domain of the constraint, or below it. A constraint that begins with a dot is for
/// names below it only; an empty one is for all.
fn is_below(name: &str, constraint: &str) -> bool {
    let Some(start) = name.len().checked_sub(constraint.len()) else { return false };
    name.as_bytes()[start..].eq_ignore_ascii_case(constraint.as_bytes())
        && (start == 0
            || constraint.is_empty()
            || constraint.starts_with('.')
            || name.as_bytes()[start - 1] == b'.')
}

/// Whether the name is a wildcard that stands for the constraint's domain as well.
fn covers(name: &str, constraint: &str) -> bool {
    let parent = |name: &str| name.find('.').map(|dot| name[dot..].to_ascii_lowercase());
    name.starts_with('*') && parent(name).is_some() && parent(name) == parent(constraint)
}

/// `None` for an address, about which a constraint says nothing.
fn without_port(host: &str) -> Option<&str> {
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => host,
    };
    let valid = !host.is_empty()
        && !host.contains([':', '[', ']'])
        && host.parse::<IpAddr>().is_err()
        && names::is_domain(host, false);
    valid.then_some(host)
}

fn allowed_email(permitted: &[&str], excluded: &[&str], email: &str) -> bool {
    let Some((local, domain)) =
        mailbox(email).filter(|(_, domain)| names::is_domain(domain, false))
    else {
        return false;
    };
    let matches = |constraint: &&str| match mailbox(constraint) {
        Some((only, at)) => only == local && at.eq_ignore_ascii_case(domain),
        None => is_below(domain, constraint),
    };
    (permitted.is_empty() || permitted.iter().any(matches)) && !excluded.iter().any(matches)
}

/// The two parts of an address. One whose first part is quoted is not understood, and so never allowed.
fn mailbox(email: &str) -> Option<(&str, &str)> {
    let (local, domain) = email.split_once('@')?;
    let special = |byte: u8| !(33..=126).contains(&byte) || b"()<>[]:;@\\,\"".contains(&byte);
    let valid = local.split('.').all(|part| !part.is_empty() && !part.bytes().any(special));
    (valid && !domain.is_empty() && names::is_domain(domain, false)).then_some((local, domain))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn domains() {
        assert!(is_below("a.example.com", "example.com") && is_below("Example.com", "example.com"));
        assert!(
            is_below("a.example.com", ".example.com") && !is_below("example.com", ".example.com")
        );
        assert!(!is_below("notexample.com", "example.com") && is_below("anything", ""));
        assert!(!allowed(&[], &["a.example.com"], "*.example.com"));
        assert!(allowed(&[], &["a.b.example.com"], "*.example.com"));
        assert!(!allowed(&["example.com"], &[], "example.org"));
    }

    #[test]
    fn networks() {
        assert!(
            is_mask(&[0xff, 0xf0])
                && is_mask(&[0, 0])
                && !is_mask(&[0xf0, 0x01])
                && !is_mask(&[0x0f])
        );
        let in_ten =
            |address: &str| contains(&[10, 1, 0, 0], &[255, 0, 0, 0], address.parse().unwrap());
        assert!(in_ten("10.2.3.4") && !in_ten("11.2.3.4") && !in_ten("::ffff:10.2.3.4"));
    }

    #[test]
    fn emails_and_uris() {
        assert!(allowed_email(&["example.com"], &[], "a@example.com"));
        assert!(!allowed_email(&["b@example.com"], &[], "a@example.com"));
        assert!(!allowed_email(&[], &[], "\"a\"@example.com"));
        assert_eq!(without_port("a.b:80"), Some("a.b"));
        assert_eq!(without_port("10.0.0.1:80"), None);
        assert_eq!(without_port("[::1]:80"), None);
    }
}
