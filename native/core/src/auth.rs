//! Who we are to the API server: what a request carries, and how it is got anew.

use std::{path::Path, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use k8s_openapi::jiff::Timestamp;
use kube::config::AuthInfo;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::config::{self, Access};

pub(crate) mod exec;
mod oidc;
mod plugin;
mod process;
mod protocol;
mod token_file;

use oidc::Oidc;
use plugin::Plugin;
use token_file::TokenFile;

/// Why there are no credentials. None of them shows what a plugin has printed on its standard
/// output: there may be a token in it.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The plugin's program is not there.
    #[error("no program {program}")]
    PluginNotFound {
        /// As the kubeconfig names it.
        program: String,
        /// The folders that were looked in; none for a name with a slash.
        path: Option<String>,
        /// The kubeconfig's advice.
        hint: Option<String>,
    },
    /// The program is there and cannot be run.
    #[error("cannot run {program}: {problem}")]
    PluginNotStarted {
        /// The program.
        program: String,
        /// What the operating system said.
        problem: String,
    },
    /// The program ended with a failure.
    #[error("{program} failed ({status}): {words}")]
    PluginFailed {
        /// The program.
        program: String,
        /// The context whose user it logs in.
        context: String,
        /// Its exit code or signal.
        status: String,
        /// The end of what it said on standard error.
        words: String,
    },
    /// The program did not come to an end.
    #[error("{program} was not done after {waited:?}")]
    PluginTooSlow {
        /// The program.
        program: String,
        /// The context whose user it logs in.
        context: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The program printed something else than credentials.
    #[error("{program} did not print credentials: {problem}")]
    PluginRubbish {
        /// The program.
        program: String,
        /// The context whose user it logs in.
        context: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The program speaks another version than the kubeconfig says.
    #[error("{program} answers in {seen} and not in {expected}")]
    PluginVersion {
        /// The program.
        program: String,
        /// The context whose user it logs in.
        context: String,
        /// The kubeconfig's `apiVersion`.
        expected: String,
        /// The answer's.
        seen: String,
    },
    /// The program wants to ask its user, and there is no terminal that it could have.
    #[error("{program} needs a terminal")]
    PluginNeedsTerminal {
        /// The program.
        program: String,
        /// The context whose user it logs in.
        context: String,
    },
    /// The answer has neither a token nor a certificate.
    #[error("{program} gave no credentials")]
    PluginEmpty {
        /// The program.
        program: String,
        /// The context whose user it logs in.
        context: String,
    },
    /// The file with the token cannot be read, or has none.
    #[error("no token in {path}: {problem}")]
    TokenFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The `oidc` auth provider did not give a new token.
    #[error("no new token from {issuer}: {problem}")]
    Oidc {
        /// The context whose user it is.
        context: String,
        /// Who issues the tokens.
        issuer: String,
        /// What was seen.
        problem: String,
    },
}

/// What a request carries.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    /// Counts the runs of a plugin; 0 where there is none.
    pub generation: u64,
    pub authorization: Option<HeaderValue>,
    /// A certificate and its key, which go with the connection.
    pub identity: Option<Identity>,
    expires: Option<Timestamp>,
}

/// A client certificate and its key, both PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub certificate: String,
    pub key: SecretString,
}

/// How a user logs in.
pub(crate) enum Login {
    /// Not at all, or by the certificate of the kubeconfig.
    Connection {
        certificate: bool,
    },
    /// By what does not change.
    Fixed {
        kind: &'static str,
        authorization: HeaderValue,
    },
    File {
        file: TokenFile,
        in_cluster: bool,
    },
    Plugin {
        plugin: Arc<Plugin>,
        call: Box<exec::Call>,
    },
    Oidc {
        oidc: Arc<Oidc>,
        /// How long its issuer may take.
        limit: Duration,
    },
}

/// How a user logs in, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// "client certificate", "token", "token file", "exec plugin", "oidc", ...
    pub kind: &'static str,
    /// The plugin's program, or the token's file.
    pub name: Option<String>,
    /// How long the plugin's last run took.
    pub took: Option<Duration>,
}

impl Login {
    /// As `client-go`: what is fixed comes before what has to be asked for.
    pub fn new(access: &Access, limit: Duration) -> Result<Self, config::Error> {
        let user = &access.config.auth_info;
        let bad = |problem: &str| config::Error::BadUser {
            context: access.context.clone(),
            problem: problem.into(),
        };
        // A file may be written anew, and counts more than a token beside it.
        if let Some(path) = &user.token_file {
            let in_cluster = access.context == config::IN_CLUSTER;
            return Ok(Self::File { file: TokenFile::new(Path::new(path)), in_cluster });
        }
        if let Some(token) = filled(user.token.as_ref()) {
            let authorization =
                bearer(token).ok_or_else(|| bad("its token has a control character"))?;
            return Ok(Self::Fixed { kind: "token", authorization });
        }
        if let (Some(name), Some(password)) = (&user.username, &user.password) {
            let text = BASE64_STANDARD.encode(format!("{name}:{}", password.expose_secret()));
            let value = secret_header(&format!("Basic {text}"));
            let authorization = value.ok_or_else(|| bad("its password has a control character"))?;
            return Ok(Self::Fixed { kind: "password", authorization });
        }
        if let Some(exec) = &user.exec {
            let call = Box::new(exec::Call::new(exec, access, limit));
            return Ok(Self::Plugin { plugin: plugin::of(&call), call });
        }
        if let Some(provider) = &user.auth_provider {
            return Ok(Self::Oidc { oidc: oidc::of(access, &provider.config), limit });
        }
        Ok(Self::Connection { certificate: has_certificate(user) })
    }

    /// What the next request carries; a plugin is run where there is nothing that is still good.
    pub async fn credentials(&self) -> Result<Credentials, Error> {
        match self {
            Self::Connection { .. } => Ok(Credentials::default()),
            Self::Fixed { authorization, .. } => Ok(Credentials::carrying(authorization.clone())),
            Self::File { file, .. } => file.read().map(Credentials::carrying),
            Self::Plugin { plugin, call } => plugin.credentials(call).await,
            Self::Oidc { oidc, limit } => oidc.token(*limit).await.map(Credentials::carrying),
        }
    }

    /// Other ones after these were not taken; `None` where there are no others to be had.
    pub async fn renew(&self, refused: &Credentials) -> Option<Result<Credentials, Error>> {
        match self {
            Self::Plugin { plugin, call } => plugin.renew(call, refused.generation).await,
            _ => None,
        }
    }

    /// What is going on, if it takes its time: the error of having waited in vain for it.
    pub fn pending(&self) -> Option<Error> {
        match self {
            Self::Plugin { plugin, call } => plugin.running().map(|waited| call.too_slow(waited)),
            _ => None,
        }
    }

    /// How the user logs in, for people to read.
    pub fn facts(&self) -> Facts {
        let plain = |kind| Facts { kind, name: None, took: None };
        match self {
            Self::Connection { certificate: true } => plain("client certificate"),
            Self::Connection { certificate: false } => plain("none"),
            Self::Fixed { kind, .. } => plain(kind),
            Self::File { file, in_cluster } => Facts {
                kind: if *in_cluster { "in-cluster" } else { "token file" },
                name: Some(file.path()),
                took: None,
            },
            Self::Plugin { plugin, call } => Facts {
                kind: "exec plugin",
                name: Some(call.program().into()),
                took: plugin.took(),
            },
            Self::Oidc { .. } => plain("token of an OIDC issuer"),
        }
    }
}

impl Credentials {
    fn carrying(authorization: HeaderValue) -> Self {
        Self { authorization: Some(authorization), ..Self::default() }
    }
}

fn has_certificate(user: &AuthInfo) -> bool {
    user.client_certificate.is_some() || user.client_certificate_data.is_some()
}

fn filled(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(ExposeSecret::expose_secret).filter(|text| !text.is_empty())
}

/// `None` for a token that no header can have.
fn bearer(token: &str) -> Option<HeaderValue> {
    secret_header(&format!("Bearer {}", token.trim()))
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
