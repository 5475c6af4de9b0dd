//! Authentication: the credentials of a request, and how they are renewed.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::kubeconfig::{self, ClientConfig, LoginMethod};

#[cfg(test)]
mod client_go;
mod credentials;
mod exec_credential;
mod expiry;
mod oidc;
mod plugin;
mod plugin_run;
mod process;
mod token_file;

pub(crate) use credentials::{Credentials, Identity};
use credentials::{bearer, secret_header};
use oidc::Oidc;
use plugin::Plugin;
use plugin_run::PluginRun;
use token_file::TokenFile;

/// Why there are no credentials. No variant has the standard output of a plugin: there may be a token
/// in it.
#[derive(Debug, Clone, Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// The program of the plugin was not found.
    #[error("no program {program}")]
    PluginNotFound {
        /// The command in the kubeconfig.
        program: String,
        /// The searched folders; none for a command with a slash.
        path: Option<String>,
        /// The `installHint` of the kubeconfig.
        hint: Option<String>,
    },
    /// The program exists and cannot be run.
    #[error("cannot run {program}: {problem}")]
    PluginNotStarted {
        /// The program.
        program: String,
        /// The cause.
        problem: String,
    },
    /// The program failed.
    #[error("{program} failed ({status}): {output}")]
    PluginFailed {
        /// The program.
        program: String,
        /// The context of the user.
        context: String,
        /// Its exit code or signal.
        status: String,
        /// The end of its standard error.
        output: String,
    },
    /// The program did not finish in time.
    #[error("{program} was not done after {waited:?}")]
    PluginTimedOut {
        /// The program.
        program: String,
        /// The context of the user.
        context: String,
        /// The time limit.
        #[serde(rename = "timeout_ms", serialize_with = "milliseconds")]
        waited: Duration,
    },
    /// The output of the program is not an `ExecCredential`.
    #[error("{program} did not print credentials: {problem}")]
    PluginInvalidOutput {
        /// The program.
        program: String,
        /// The context of the user.
        context: String,
        /// The cause.
        problem: String,
    },
    /// The program answers in another version than the kubeconfig names.
    #[error("{program} answers in {actual} and not in {expected}")]
    PluginVersion {
        /// The program.
        program: String,
        /// The context of the user.
        context: String,
        /// The `apiVersion` in the kubeconfig.
        expected: String,
        /// The `apiVersion` of the answer.
        actual: String,
    },
    /// The program has to ask its user, and there is no terminal for it.
    #[error("{program} needs a terminal")]
    PluginNeedsTerminal {
        /// The program.
        program: String,
        /// The context of the user.
        context: String,
    },
    /// The user's `kuberc` does not allow the program.
    #[error("{program} is forbidden by the policy {policy} of {path}")]
    PluginForbidden {
        /// The program.
        program: String,
        /// The `kuberc`.
        path: PathBuf,
        /// Its `credentialPluginPolicy`.
        policy: &'static str,
    },
    /// The answer has neither a token nor a certificate.
    #[error("{program} gave no credentials")]
    PluginNoCredentials {
        /// The program.
        program: String,
        /// The context of the user.
        context: String,
    },
    /// The token file cannot be read, or has no token.
    #[error("no token in {path}: {problem}")]
    TokenFile {
        /// The file.
        path: String,
        /// The cause.
        problem: String,
    },
    /// The `oidc` auth provider did not give a new token.
    #[error("no new token from {issuer}: {problem}")]
    Oidc {
        /// The context of the user.
        context: String,
        /// The URL of the issuer.
        issuer: String,
        /// The cause.
        problem: String,
    },
}

/// How a user authenticates.
pub(crate) enum Login {
    /// Anonymously, or with the certificate of the kubeconfig.
    Connection {
        certificate: bool,
    },
    /// With a token or password that does not change.
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
        run: Box<PluginRun>,
    },
    Oidc {
        oidc: Arc<Oidc>,
        /// How long a request waits for the issuer.
        limit: Duration,
    },
}

/// How a user authenticates, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginInfo {
    /// "client certificate", "token", "token file", "exec plugin", "oidc", ...
    pub kind: &'static str,
    /// The program of the plugin, or the token file.
    pub name: Option<String>,
    /// How long the last run of the plugin took.
    pub took: Option<Duration>,
}

impl Login {
    /// # Errors
    /// [`kubeconfig::Error::InvalidUser`] for credentials that no request can have.
    pub fn new(config: &ClientConfig, limit: Duration) -> Result<Self, kubeconfig::Error> {
        let bad = |problem: &str| kubeconfig::Error::InvalidUser {
            context: config.context.clone(),
            problem: problem.into(),
        };
        let bearer = |token: &SecretString| {
            bearer(token.expose_secret()).ok_or_else(|| bad("its token has a control character"))
        };
        Ok(match &config.login {
            LoginMethod::None => Self::Connection {
                certificate: config.kube.auth_info.client_certificate_data.is_some(),
            },
            LoginMethod::Token(token) => {
                Self::Fixed { kind: "token", authorization: bearer(token)? }
            }
            LoginMethod::TokenFile { path, token } => Self::File {
                file: TokenFile::new(path, token.as_ref().map(bearer).transpose()?),
                in_cluster: config.context == kubeconfig::IN_CLUSTER,
            },
            LoginMethod::Password { name, password } => {
                let text = BASE64_STANDARD.encode(format!("{name}:{}", password.expose_secret()));
                let value = secret_header(&format!("Basic {text}"));
                let authorization =
                    value.ok_or_else(|| bad("its password has a control character"))?;
                Self::Fixed { kind: "password", authorization }
            }
            LoginMethod::Exec(exec) => {
                let run = PluginRun::new(exec, config, limit);
                Self::Plugin { plugin: plugin::shared(&run), run: Box::new(run) }
            }
            LoginMethod::Oidc(settings) => {
                let oidc = Oidc::new(&config.context, settings, &config.environment);
                Self::Oidc { oidc: Arc::new(oidc), limit }
            }
        })
    }

    /// The credentials of the next request. A plugin runs where there are no valid ones.
    pub async fn credentials(&self) -> Result<Credentials, Error> {
        match self {
            Self::Connection { .. } => Ok(Credentials::default()),
            Self::Fixed { authorization, .. } => Ok(authorization.clone().into()),
            Self::File { file, .. } => file.read().await.map(Credentials::from),
            Self::Plugin { plugin, run } => plugin.credentials(run).await,
            Self::Oidc { oidc, limit } => oidc.token(*limit).await.map(Credentials::from),
        }
    }

    /// Replaces credentials that the server rejected; `None` where there are no others.
    pub async fn renew(&self, rejected: &Credentials) -> Option<Result<Credentials, Error>> {
        match self {
            Self::Plugin { plugin, run } => plugin.renew(run, rejected.generation).await,
            _ => None,
        }
    }

    /// The error for a caller that gives up while a plugin runs.
    pub fn pending(&self) -> Option<Error> {
        match self {
            Self::Plugin { plugin, run } => plugin.running().map(|waited| run.too_slow(waited)),
            _ => None,
        }
    }

    /// How the user authenticates, for people to read.
    pub fn info(&self) -> LoginInfo {
        let plain = |kind| LoginInfo { kind, name: None, took: None };
        match self {
            Self::Connection { certificate: true } => plain("client certificate"),
            Self::Connection { certificate: false } => plain("none"),
            Self::Fixed { kind, .. } => plain(kind),
            Self::File { file, in_cluster } => LoginInfo {
                kind: if *in_cluster { "in-cluster" } else { "token file" },
                name: Some(file.path()),
                took: None,
            },
            Self::Plugin { plugin, run } => LoginInfo {
                kind: "exec plugin",
                name: Some(run.program().into()),
                took: plugin.took(),
            },
            Self::Oidc { .. } => plain("token of an OIDC issuer"),
        }
    }
}

/// A duration as a number of milliseconds.
pub(super) fn milliseconds<S: Serializer>(
    time: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
