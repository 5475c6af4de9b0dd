//! Authentication: the credentials of a request, and how they are renewed.

use std::{path::Path, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use kube::config::AuthInfo;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::kubeconfig::{self, ClientConfig};

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
    /// In the order of `client-go`: fixed credentials before a plugin.
    pub fn new(config: &ClientConfig, limit: Duration) -> Result<Self, kubeconfig::Error> {
        let user = &config.kube.auth_info;
        let bad = |problem: &str| kubeconfig::Error::InvalidUser {
            context: config.context.clone(),
            problem: problem.into(),
        };
        // A token file may be replaced, so it wins over a token beside it.
        if let Some(path) = &user.token_file {
            let in_cluster = config.context == kubeconfig::IN_CLUSTER;
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
            let ClientConfig { context, environment, interactive, .. } = config;
            let run = PluginRun::new(exec, context, environment, *interactive, limit);
            return Ok(Self::Plugin { plugin: plugin::shared(&run), run: Box::new(run) });
        }
        if let Some(provider) = &user.auth_provider {
            let oidc = Oidc::new(&config.context, &provider.config, &config.environment);
            return Ok(Self::Oidc { oidc: Arc::new(oidc), limit });
        }
        Ok(Self::Connection { certificate: has_certificate(user) })
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

fn has_certificate(user: &AuthInfo) -> bool {
    user.client_certificate.is_some() || user.client_certificate_data.is_some()
}

fn filled(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(ExposeSecret::expose_secret).filter(|text| !text.is_empty())
}

/// A duration as a number of milliseconds.
pub(super) fn milliseconds<S: Serializer>(
    time: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
