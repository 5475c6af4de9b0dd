//! The validity of certificates. The 401 of a server does not say that the client's has expired.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::jiff::Timestamp;
use kube::config::AuthInfo;
use rustls::{CertificateError, pki_types::UnixTime};
use x509_cert::{Certificate, der::DecodePem};

use super::Error;

/// The end of validity of the user's certificate, if it is past.
pub(super) fn expired(user: &AuthInfo) -> Option<String> {
    let not_after = Certificate::from_pem(pem(user)?).ok()?.tbs_certificate().validity().not_after;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    (not_after.to_unix_duration() < now).then(|| not_after.to_date_time().to_string())
}

fn pem(user: &AuthInfo) -> Option<Vec<u8>> {
    // A file was read when the kubeconfig was resolved.
    BASE64_STANDARD.decode(user.client_certificate_data.as_ref()?).ok()
}

/// The error for a server certificate that is not valid now; `None` for any other TLS error.
pub(super) fn validity_error(server: &str, error: &rustls::Error) -> Option<Error> {
    let server = server.to_owned();
    match error {
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            time,
            not_before,
        }) => Some(Error::ServerCertificateNotYetValid {
            server,
            not_before: format_time(*not_before),
            now: format_time(*time),
        }),
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            Some(Error::ServerCertificateExpired {
                server,
                not_after: format_time(*not_after),
                now: format_time(*time),
            })
        }
        _ => None,
    }
}

/// The problem, with explanations for the two common cases.
pub(super) fn problem(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name or address. Where that is meant, tls-server-name in the \
              kubeconfig says for which"
            .into(),
        rustls::Error::InvalidCertificate(other) if format!("{other:?}").contains("CaUsedAsEnd") => {
            "its certificate is one that may sign others (CA:TRUE), and is refused as a server's own. Have one \
             signed by it, or made without that"
                .into()
        }
        error => error.to_string(),
    }
}

fn format_time(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}
