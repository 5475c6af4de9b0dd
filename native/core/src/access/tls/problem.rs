//! TLS errors in words.

use std::{error::Error, fmt::Debug};

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use super::refusal::Refusal;
use crate::error_chain::{chain, root_cause};

/// The cause of a failed connection to a server that no user logs in to: the innermost error, or that of
/// TLS.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> String {
    let tls = chain(error).find_map(|error| error.downcast_ref::<rustls::Error>());
    tls.map_or_else(|| root_cause(error), |error| problem(error, false))
}

/// Why the server's certificate is refused.
pub(crate) fn refusal(error: &rustls::Error) -> Option<&Refusal> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

/// A sentence about the server, which is "it". `shown` is whether the client has a certificate.
pub(crate) fn problem(error: &rustls::Error, shown: bool) -> String {
    if let Some(refusal) = refusal(error) {
        return refusal.to_string();
    }
    match error {
        rustls::Error::AlertReceived(alert) => alert_received(*alert, shown),
        rustls::Error::InvalidCertificate(_) => {
            "its handshake signature does not match its certificate".into()
        }
        rustls::Error::NoCertificatesPresented => "it sent no certificate".into(),
        rustls::Error::InvalidMessage(_) => {
            "its answer is not TLS. Check the scheme and the port of the server's URL".into()
        }
        rustls::Error::PeerIncompatible(reason) => incompatible(reason),
        rustls::Error::PeerMisbehaved(reason) => format!("TLS protocol error ({})", words(reason)),
        error => error.to_string(),
    }
}

fn incompatible(reason: &PeerIncompatible) -> String {
    match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => NO_VERSION.into(),
        PeerIncompatible::NoCipherSuitesInCommon => {
            "no common cipher suite (offered: ECDHE with AES-GCM or ChaCha20-Poly1305)".into()
        }
        PeerIncompatible::NoKxGroupsInCommon => {
            "no common curve (offered: X25519, P-256, P-384, P-521)".into()
        }
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "it supports no signature algorithm of the client key".into()
        }
        reason => format!("unsupported TLS ({})", words(reason)),
    }
}

const NO_VERSION: &str = "it supports neither TLS 1.2 nor TLS 1.3";

/// The server ended the handshake.
fn alert_received(alert: AlertDescription, shown: bool) -> String {
    use AlertDescription as Alert;
    match (alert, shown) {
        (Alert::CertificateRequired | Alert::BadCertificate, false) => {
            "it requires a client certificate, and the user of the kubeconfig has none".into()
        }
        (Alert::CertificateRequired, true) => {
            "it requires a client certificate, and supports no signature algorithm of the client key".into()
        }
        (Alert::UnknownCA, true) => {
            "it rejected the client certificate: unknown certificate authority".into()
        }
        (
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError,
            true,
        ) => format!("it rejected the client certificate (TLS alert {})", words(&alert)),
        (Alert::ProtocolVersion, _) => NO_VERSION.into(),
        (Alert::HandshakeFailure | Alert::InsufficientSecurity, shown) => {
            let verb = if shown { "rejected" } else { "requires" };
            format!(
                "no common cipher suite (offered: ECDHE with AES-GCM or ChaCha20-Poly1305), no common curve, or it \
                 {verb} a client certificate (TLS alert {})",
                words(&alert)
            )
        }
        (Alert::UnrecognisedName, _) => {
            "it does not know the server name. Check tls-server-name in the kubeconfig".into()
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
