//! The reasons to refuse a server's certificate, one sentence each. "It" is the server.

use k8s_openapi::jiff::Timestamp;
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("its certificate is invalid: {0}")]
    Malformed(&'static str),
    #[error("certificate {number} of its chain is invalid: {problem}")]
    MalformedChain { number: usize, problem: &'static str },
    #[error("its certificate has an unsupported public key ({0})")]
    UnsupportedKey(&'static str),
    #[error(
        "its certificate is for {names}, not for {expected}. If that is intended, set tls-server-name in the \
         kubeconfig"
    )]
    WrongName { expected: String, names: String },
    #[error(
        "its certificate has no subject alternative name (SAN) for {expected}, and its common name {common} does \
         not count"
    )]
    CommonNameOnly { expected: String, common: String },
    #[error("its certificate has no subject alternative name (SAN) for {expected}")]
    NoName { expected: String },
    #[error("its certificate expired at {}", time(*not_after))]
    Expired { not_after: i64, now: i64 },
    #[error("its certificate is not valid before {}", time(*not_before))]
    NotYetValid { not_before: i64, now: i64 },
    #[error("the certificate authority {authority} expired at {}", time(*not_after))]
    AuthorityExpired { authority: String, not_after: i64 },
    #[error("the certificate authority {authority} is not valid before {}", time(*not_before))]
    AuthorityNotYetValid { authority: String, not_before: i64 },
    #[error("its certificate is from an unknown certificate authority ({issuer})")]
    UnknownAuthority { issuer: String },
    #[error(
        "its certificate is signed by {authority}, which is not a certificate authority (no CA:TRUE)"
    )]
    NoAuthority { authority: String },
    #[error(
        "its certificate is signed by {authority}, whose key usage does not allow that (no keyCertSign)"
    )]
    MayNotSign { authority: String },
    #[error(
        "its chain has more than {max} intermediate authorities below {authority} (path length)"
    )]
    TooManyIntermediates { authority: String, max: u64 },
    #[error(
        "the certificate {certificate} is not valid for servers (extended key usage without serverAuth)"
    )]
    WrongUsage { certificate: String },
    #[error("the certificate {certificate} has an unsupported critical extension ({oid})")]
    UnknownExtension { certificate: String, oid: String },
    #[error("its certificate authority is not allowed to sign for {name} (name constraints)")]
    NameConstraints { name: String },
    #[error("the certificate {certificate} has an insecure signature ({hash})")]
    InsecureSignature { certificate: String, hash: &'static str },
    #[error("the certificate {certificate} has an unsupported signature algorithm")]
    UnsupportedSignature { certificate: String },
    #[error("the RSA key of {certificate} has {bits} bits, and supported are 1024 to {max}")]
    RsaSize { certificate: String, bits: usize, max: usize },
    #[error(
        "its chain lacks the policies that a certificate authority requires (policyConstraints)"
    )]
    Policies,
    #[error("its chain is too complex: the first 100 candidates led to no certificate authority")]
    TooManyChains,
    #[error(
        "the kubeconfig has no certificate authority, and this machine has no trust store: {0}"
    )]
    NoAuthorities(String),
}

/// RFC 3339.
pub(crate) fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}
