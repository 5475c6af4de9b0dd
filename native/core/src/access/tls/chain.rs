//! The chain from a server's certificate to an authority of the kubeconfig, by the rules of Go.
//!
//! Not webpki's: it refuses a CA:TRUE certificate as the server's own, version 1, `anyExtendedKeyUsage` and
//! a trusted certificate of the server itself, all of which kubectl accepts. And it checks nothing of a
//! trusted authority but its name and key, where kubectl also checks its validity, CA:TRUE, key usage and
//! path length.

use std::net::IpAddr;

use rustls::pki_types::ServerName;

use super::{
    certificate::{Certificate, name_text},
    der, names, policies,
    refusal::Refusal,
    signature::{Failure, MAX_RSA_BITS, PublicKey},
};

/// As in Go: more candidates than any real chain has.
const MAX_CANDIDATES: usize = 100;
/// Of names with name constraints, in one chain. A real one has a few thousand.
const MAX_COMPARISONS: usize = 250_000;
/// For a message about a certificate of many names.
const NAMES_IN_MESSAGE: usize = 4;

/// The certificates of trusted authorities.
#[derive(Debug, Default)]
pub(super) struct Authorities(Vec<Authority>);

#[derive(Debug)]
struct Authority {
    der: Vec<u8>,
    subject: Vec<u8>,
}

impl Authorities {
    /// Those of the certificates that can be parsed: a broken one in a bundle does not spoil the others.
    pub fn new(certificates: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let authority = |der: Vec<u8>| {
            let subject = Certificate::parse(&der).ok()?.subject.to_vec();
            Some(Authority { der, subject })
        };
        Self(certificates.into_iter().filter_map(authority).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one of them itself.
    pub fn has(&self, certificate: &Certificate) -> bool {
        self.0.iter().any(|authority| authority.der == certificate.der)
    }

    /// Those with the name of the issuer, first the one whose key the certificate names.
    fn issuers<'a>(&'a self, certificate: &Certificate) -> Vec<Certificate<'a>> {
        let named = self.0.iter().filter(|authority| authority.subject == certificate.issuer);
        let mut named: Vec<_> =
            named.filter_map(|authority| Certificate::parse(&authority.der).ok()).collect();
        let key = certificate.extensions.authority_key;
        named.sort_by_key(|authority| authority.extensions.subject_key != key);
        named
    }
}

/// The certificates that a server sends, its own first.
///
/// # Errors
/// Where Go refuses one of them whatever the rest is.
pub(super) fn parse<'a>(
    own: &'a [u8],
    others: impl Iterator<Item = &'a [u8]>,
) -> Result<(Certificate<'a>, Vec<Certificate<'a>>), Refusal> {
    let leaf = Certificate::parse(own).map_err(Refusal::Malformed)?;
    let parsed = others.enumerate().map(|(index, der)| {
        let malformed = |problem| Refusal::MalformedChain { number: index + 2, problem };
        Certificate::parse(der).map_err(malformed)
    });
    let others = parsed.collect::<Result<Vec<_>, _>>()?;
    for certificate in std::iter::once(&leaf).chain(&others) {
        if let Some(bits) = certificate.key.rsa_bits().filter(|bits| *bits > MAX_RSA_BITS) {
            return Err(rsa_size(certificate, bits, MAX_RSA_BITS));
        }
    }
    match leaf.key {
        PublicKey::Unsupported(kind) => Err(Refusal::UnsupportedKey(kind)),
        PublicKey::Unknown => Err(Refusal::UnsupportedKey("none of RSA, ECDSA and Ed25519")),
        _ => Ok((leaf, others)),
    }
}

/// Verifies that the first certificate is the server's, and that a chain leads from it to an authority. Without a name
/// the caller verifies that.
pub(super) fn verify(
    authorities: &Authorities,
    leaf: &Certificate,
    intermediates: &[Certificate],
    server: Option<&ServerName>,
    now: i64,
) -> Result<(), Refusal> {
    if let Some(oid) = leaf.extensions.unknown_critical {
        return Err(unknown_extension(leaf, oid));
    }
    if now < leaf.not_before {
        return Err(Refusal::NotYetValid { not_before: leaf.not_before, now });
    }
    if is_over(leaf, now) {
        return Err(Refusal::Expired { not_after: leaf.not_after, now });
    }
    if let Some(server) = server {
        verify_name(leaf, server)?;
    }
    // Whoever trusts the server's own certificate needs no authority.
    if authorities.has(leaf) {
        return check_chain(&[leaf]);
    }
    let mut search = Search { authorities, intermediates, now, candidates: 0, hint: None };
    if search.extend(&[leaf]) {
        return Ok(());
    }
    if search.candidates > MAX_CANDIDATES {
        return Err(Refusal::TooManyChains);
    }
    Err(search.hint.unwrap_or_else(|| Refusal::UnknownAuthority { issuer: name_text(leaf.issuer) }))
}

/// Whether the certificate is for the server of this name.
pub(super) fn verify_name(leaf: &Certificate, server: &ServerName) -> Result<(), Refusal> {
    if leaf.extensions.names.as_ref().is_some_and(|names| names::matches(names, server)) {
        Ok(())
    } else {
        Err(wrong_name(leaf, server))
    }
}

/// A certificate ends with the beginning of its last second. Go compares nanoseconds, and rustls tells whole seconds,
/// so that `now` can be almost a second later.
fn is_over(certificate: &Certificate, now: i64) -> bool {
    now >= certificate.not_after
}

/// The search for a chain, depth first.
struct Search<'a> {
    authorities: &'a Authorities,
    intermediates: &'a [Certificate<'a>],
    now: i64,
    candidates: usize,
    /// Why the first candidate was not taken.
    hint: Option<Refusal>,
}

impl Search<'_> {
    /// Whether the chain, which begins with the server's certificate, leads to an authority.
    fn extend(&mut self, chain: &[&Certificate]) -> bool {
        let Some(child) = chain.last() else { return false };
        for authority in self.authorities.issuers(child) {
            if self.is_issuer(&authority, chain, true) {
                let complete = [chain, &[&authority]].concat();
                match check_chain(&complete) {
                    Ok(()) => return true,
                    Err(refusal) => self.note(refusal),
                }
            }
        }
        for intermediate in self.intermediates {
            if intermediate.subject == child.issuer
                && self.is_issuer(intermediate, chain, false)
                && self.extend(&[chain, &[intermediate]].concat())
            {
                return true;
            }
        }
        false
    }

    fn is_issuer(
        &mut self,
        candidate: &Certificate,
        chain: &[&Certificate],
        is_root: bool,
    ) -> bool {
        self.candidates += 1;
        if self.candidates > MAX_CANDIDATES
            || candidate.key == PublicKey::Unknown
            || chain.iter().any(|known| is_same(known, candidate))
        {
            return false;
        }
        match check_issuer(candidate, chain, is_root, self.now) {
            Ok(()) => true,
            Err(refusal) => {
                if let Some(refusal) = refusal {
                    self.note(refusal);
                }
                false
            }
        }
    }

    fn note(&mut self, refusal: Refusal) {
        self.hint.get_or_insert(refusal);
    }
}

/// Another certificate of the same authority would only make a circle.
fn is_same(one: &Certificate, other: &Certificate) -> bool {
    let names = |certificate: &Certificate| {
        certificate.extensions.names.as_ref().map(|names| names.der.to_vec())
    };
    one.subject == other.subject && one.key_info == other.key_info && names(one) == names(other)
}

/// Whether the candidate may have signed the last of the chain, and did. `Err(None)` where it has only the
/// name of its issuer: that says nothing about the certificate.
fn check_issuer(
    candidate: &Certificate,
    chain: &[&Certificate],
    is_root: bool,
    now: i64,
) -> Result<(), Option<Refusal>> {
    let Some(child) = chain.last() else { return Err(None) };
    let authority = || candidate.subject_text();
    let constraints = candidate.extensions.basic_constraints.as_ref();
    let may_be_authority = match constraints {
        Some(constraints) => constraints.is_authority,
        // Before version 3 there was no way to say so. Only a trusted certificate is believed.
        None => candidate.version < 3 && is_root,
    };
    if !may_be_authority {
        return Err(Some(Refusal::NoAuthority { authority: authority() }));
    }
    if candidate.extensions.may_sign == Some(false) {
        return Err(Some(Refusal::MayNotSign { authority: authority() }));
    }
    check_signature(child, candidate)?;
    if let Some(oid) = candidate.extensions.unknown_critical {
        return Err(Some(unknown_extension(candidate, oid)));
    }
    if now < candidate.not_before {
        let (authority, not_before) = (authority(), candidate.not_before);
        return Err(Some(Refusal::AuthorityNotYetValid { authority, not_before }));
    }
    if is_over(candidate, now) {
        let (authority, not_after) = (authority(), candidate.not_after);
        return Err(Some(Refusal::AuthorityExpired { authority, not_after }));
    }
    match constraints.and_then(|constraints| constraints.max_path) {
        Some(max) if (chain.len() - 1) as u64 > max => {
            Err(Some(Refusal::TooManyIntermediates { authority: authority(), max }))
        }
        _ => Ok(()),
    }
}

fn check_signature(child: &Certificate, issuer: &Certificate) -> Result<(), Option<Refusal>> {
    let certificate = || child.subject_text();
    let verified = issuer.key.verify(child.algorithm, child.signed, child.signature);
    verified.map_err(|failure| match failure {
        Failure::Insecure(hash) => {
            Some(Refusal::InsecureSignature { certificate: certificate(), hash })
        }
        Failure::Unsupported => Some(Refusal::UnsupportedSignature { certificate: certificate() }),
        Failure::RsaSize { bits, max } => Some(rsa_size(issuer, bits, max)),
        Failure::Invalid => None,
    })
}

/// What concerns the chain as a whole.
fn check_chain(chain: &[&Certificate]) -> Result<(), Refusal> {
    if !policies::are_valid(chain) {
        return Err(Refusal::Policies);
    }
    for certificate in chain {
        if let Some(usages) = &certificate.extensions.usages
            && !(usages.any || usages.server)
        {
            return Err(Refusal::WrongUsage { certificate: certificate.subject_text() });
        }
    }
    match refused_name(chain) {
        Some(name) => Err(Refusal::NameConstraints { name }),
        None => Ok(()),
    }
}

/// The first name in a chain that one of its authorities may not sign for.
fn refused_name(chain: &[&Certificate]) -> Option<String> {
    chain.iter().enumerate().find_map(|(index, certificate)| {
        let names = certificate.extensions.names.as_ref()?;
        let constraints = chain[index + 1..].iter();
        let constraints =
            constraints.filter_map(|authority| authority.extensions.name_constraints.as_ref());
        constraints.into_iter().find_map(|constraints| {
            if constraints.cost(names) > MAX_COMPARISONS {
                return Some("too many names and constraints".into());
            }
            constraints.refused(names)
        })
    })
}

fn rsa_size(certificate: &Certificate, bits: usize, max: usize) -> Refusal {
    Refusal::RsaSize { certificate: certificate.subject_text(), bits, max }
}

fn unknown_extension(certificate: &Certificate, oid: &[u8]) -> Refusal {
    Refusal::UnknownExtension { certificate: certificate.subject_text(), oid: der::dotted(oid) }
}

fn wrong_name(leaf: &Certificate, server: &ServerName) -> Refusal {
    let expected = names::short(&server.to_str());
    let names = leaf.extensions.names.as_ref();
    let dns = names.iter().flat_map(|names| &names.dns).map(|name| match name.parse::<IpAddr>() {
        // It looks like the address, and is none.
        Ok(_) => format!("the DNS name {name}"),
        Err(_) => names::short(name),
    });
    let addresses = names.iter().flat_map(|names| &names.addresses).map(ToString::to_string);
    let all: Vec<String> = dns.chain(addresses).collect();
    match (all.len(), leaf.common_name()) {
        (0, Some(common)) => Refusal::CommonNameOnly { expected, common: names::short(&common) },
        (0, None) => Refusal::NoName { expected },
        (count, _) => {
            let mut names = all[..count.min(NAMES_IN_MESSAGE)].join(", ");
            if count > NAMES_IN_MESSAGE {
                names = format!("{names} and {} more", count - NAMES_IN_MESSAGE);
            }
            Refusal::WrongName { expected, names }
        }
    }
}
