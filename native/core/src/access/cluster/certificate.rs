//! Certificates in messages: that of the server, and that of the client. The 401 of a server does not say that
//! the client's has expired.

use std::{
    fmt::Debug,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::AuthInfo;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};

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
    match refusal(error) {
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
        Some(refusal) => Error::Tls { server, problem: refusal.to_string() },
        None => Error::Tls { server, problem: problem(error, shown) },
    }
}

fn refusal(error: &rustls::Error) -> Option<&Refusal> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

/// The server is "it".
fn problem(error: &rustls::Error, shown: bool) -> String {
    match error {
        rustls::Error::AlertReceived(alert) => alerted(*alert, shown),
        rustls::Error::InvalidCertificate(_) => {
            "its handshake is not signed by the key of its certificate".into()
        }
        rustls::Error::NoCertificatesPresented => "it has no certificate".into(),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "it speaks neither TLS 1.2 nor TLS 1.3".into(),
        rustls::Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "it supports none of the cipher suites that are offered (ECDHE with AES-GCM or ChaCha20-Poly1305)".into()
        }
        rustls::Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => {
            "it supports none of the curves that are offered for the key exchange (X25519, P-256, P-384)".into()
        }
        rustls::Error::PeerIncompatible(
            PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
        ) => "it accepts none of the signatures that the key of the client certificate can make".into(),
        rustls::Error::PeerIncompatible(reason) => {
            format!("it is not compatible ({})", words(reason))
        }
        rustls::Error::PeerMisbehaved(reason) => {
            format!("it breaks the rules of TLS ({})", words(reason))
        }
        rustls::Error::InvalidMessage(_) => {
            "its answer is not TLS. Does the server's URL need http:// or another port?".into()
        }
        error => error.to_string(),
    }
}

/// The server ended the handshake.
fn alerted(alert: AlertDescription, shown: bool) -> String {
    const REQUIRED: &str =
        "it requires a client certificate, and the user of the kubeconfig has none";
    match (alert, shown) {
        (AlertDescription::CertificateRequired, false)
        | (AlertDescription::BadCertificate, false) => REQUIRED.into(),
        (AlertDescription::CertificateRequired, true) => {
            "it requires a client certificate, and accepts no signature of the client key".into()
        }
        (AlertDescription::UnknownCA, true) => {
            "it does not know the certificate authority of the client certificate".into()
        }
        (AlertDescription::CertificateRevoked, true) => {
            "it rejected the client certificate: the certificate is revoked".into()
        }
        (
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError,
            true,
        ) => format!("it rejected the client certificate (TLS alert {})", words(&alert)),
        (AlertDescription::ProtocolVersion, _) => "it speaks neither TLS 1.2 nor TLS 1.3".into(),
        (AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity, shown) => {
            let suites = "it supports none of the cipher suites or curves that are offered (ECDHE with AES-GCM or \
                          ChaCha20-Poly1305 over X25519, P-256 or P-384)";
            let certificate = if shown {
                "rejected the client certificate"
            } else {
                "requires a client certificate"
            };
            format!("{suites}, or it {certificate} (TLS alert {})", words(&alert))
        }
        (AlertDescription::UnrecognisedName, _) => {
            "it knows no server of this name. tls-server-name in the kubeconfig can name another"
                .into()
        }
        (alert, _) => format!("it ended the handshake (TLS alert {})", words(&alert)),
    }
}

/// The name of a variant in words: `BadCertificate` is "bad certificate".
fn words(variant: &impl Debug) -> String {
    let mut words = String::new();
    for letter in format!("{variant:?}").chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}
