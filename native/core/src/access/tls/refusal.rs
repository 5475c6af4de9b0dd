//! Why a server's certificate is refused, each in words of its own.

use k8s_openapi::jiff::Timestamp;
use thiserror::Error;

/// The party is in the sentence: the server as "it", and authorities by name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("its certificate is malformed: {0}")]
    Malformed(&'static str),
    #[error("certificate {number} of the chain that it sends is malformed: {problem}")]
    MalformedChain { number: usize, problem: &'static str },
    #[error("its certificate has an unsupported kind of public key: {0}")]
    UnsupportedKey(&'static str),
    #[error("its certificate is for {names}, and not for {expected}. {TLS_SERVER_NAME}")]
    WrongName { expected: String, names: String },
    #[error(
        "its certificate has no name for {expected}: it has a common name only ({common}), and only \
         alternative names (SAN) count"
    )]
    CommonNameOnly { expected: String, common: String },
    #[error("its certificate has no name, and so is not for {expected}")]
    NoName { expected: String },
    #[error("its certificate expired at {}", time(*not_after))]
    Expired { not_after: i64, now: i64 },
    #[error("its certificate is valid from {}", time(*not_before))]
    NotYetValid { not_before: i64, now: i64 },
    #[error("the certificate authority {authority} of its certificate expired at {}", time(*not_after))]
    AuthorityExpired { authority: String, not_after: i64 },
    #[error("the certificate authority {authority} of its certificate is valid from {}", time(*not_before))]
    AuthorityNotYetValid { authority: String, not_before: i64 },
    #[error("its certificate is of an unknown authority, {issuer}")]
    UnknownAuthority { issuer: String },
    #[error(
        "its certificate is signed by {authority}, which is not the certificate of an authority (CA:TRUE is \
         missing)"
    )]
    NoAuthority { authority: String },
    #[error(
        "its certificate is signed by {authority}, whose key usage does not allow to sign certificates \
         (keyCertSign is missing)"
    )]
    MayNotSign { authority: String },
    #[error(
        "its certificate has more intermediate authorities than {authority} allows (pathlen:{max})"
    )]
    TooManyIntermediates { authority: String, max: u64 },
    #[error(
        "{certificate} is not a certificate for servers: its extended key usage has no serverAuth"
    )]
    WrongUsage { certificate: String },
    #[error(
        "the certificate {certificate} has an unknown extension that is marked critical ({oid})"
    )]
    UnknownExtension { certificate: String, oid: String },
    #[error(
        "its certificate is for {name}, and one of its authorities may not sign for that (name constraints)"
    )]
    NameConstraints { name: String },
    #[error("the certificate {certificate} is signed with {hash}, which is not secure")]
    InsecureSignature { certificate: String, hash: &'static str },
    #[error("the certificate {certificate} is signed with an unsupported algorithm")]
    UnsupportedSignature { certificate: String },
    #[error(
        "the RSA key of {certificate} has {bits} bits: the smallest that is supported has 1024, and the largest {max}"
    )]
    RsaSize { certificate: String, bits: usize, max: usize },
    #[error(
        "unsupported: an authority of its certificate demands certificate policies (policyConstraints)"
    )]
    Policies,
    #[error("its certificates can be put together to too many chains")]
    TooManyChains,
    #[error(
        "the kubeconfig has no certificate authority, and this machine has no trusted ones: {0}"
    )]
    NoAuthorities(String),
}

/// What cures a wrong name.
const TLS_SERVER_NAME: &str =
    "Where that is meant, tls-server-name in the kubeconfig says for which";

/// As in RFC 3339.
pub(crate) fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}
