//! What a request carries.

use http::HeaderValue;
use k8s_openapi::jiff::Timestamp;
use secrecy::SecretString;

/// The credentials of a request.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    /// The number of the plugin's run; 0 without a plugin.
    pub generation: u64,
    pub authorization: Option<HeaderValue>,
    /// A certificate and its key, which belong to the connection.
    pub identity: Option<Identity>,
    pub expires: Option<Timestamp>,
}

/// A client certificate and its key, both PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub certificate: String,
    pub key: SecretString,
}

impl From<HeaderValue> for Credentials {
    fn from(authorization: HeaderValue) -> Self {
        Self { authorization: Some(authorization), ..Self::default() }
    }
}

/// `None` for a token that no header can have.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    secret_header(&format!("Bearer {}", token.trim()))
}

pub(super) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
