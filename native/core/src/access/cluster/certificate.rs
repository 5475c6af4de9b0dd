//! Certificates in messages: that of the server, and that of the client. The 401 of a server does not say that
//! the client's has expired.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::AuthInfo;

use super::Error;
use crate::access::tls::{self, Refusal};

/// The end of validity of the user's certificate, if it is past.
pub(super) fn expired(user: &AuthInfo) -> Option<String> {
    // A file was read when the kubeconfig was resolved.
    let pem = BASE64_STANDARD.decode(user.client_certificate_data.as_ref()?).ok()?;
    let not_after = tls::not_after(&pem)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    (not_after < i64::try_from(now.as_secs()).ok()?).then(|| tls::time(not_after))
}

/// The error for a TLS connection that was not set up. `shown` is whether the client has a certificate.
pub(super) fn explain(server: String, error: &rustls::Error, shown: bool) -> Error {
    match tls::refusal(error) {
        Some(Refusal::UnknownAuthority { .. }) => Error::UnknownAuthority { server },
        Some(&Refusal::NotYetValid { not_before, now }) => Error::ServerCertificateNotYetValid {
            server,
            not_before: tls::time(not_before),
            now: tls::time(now),
        },
        Some(&Refusal::Expired { not_after, now }) => Error::ServerCertificateExpired {
            server,
            not_after: tls::time(not_after),
            now: tls::time(now),
        },
        _ => Error::Tls { server, problem: tls::problem(error, shown) },
    }
}
