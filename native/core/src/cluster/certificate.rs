//! When a client certificate ends. The server's 401 does not say that it has.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::AuthInfo;
use x509_cert::{Certificate, der::DecodePem};

/// The end of validity of the user's certificate, if that is past.
pub(super) fn expired(user: &AuthInfo) -> Option<String> {
    let not_after = Certificate::from_pem(pem(user)?).ok()?.tbs_certificate().validity().not_after;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    (not_after.to_unix_duration() < now).then(|| not_after.to_date_time().to_string())
}

fn pem(user: &AuthInfo) -> Option<Vec<u8>> {
    match (&user.client_certificate_data, &user.client_certificate) {
        (Some(base64), _) => BASE64_STANDARD.decode(base64).ok(),
        (None, Some(path)) => std::fs::read(path).ok(),
        (None, None) => None,
    }
}
