//! How the user of a context logs in: the one way that client-go takes of those in the entry.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    path::PathBuf,
};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    Error,
    document::{AuthProvider, Cluster, ExecEntry, User},
};

/// Versions of `ExecCredential` that a plugin may speak.
const EXEC_VERSIONS: [&str; 2] =
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// How a user logs in, besides a client certificate.
#[derive(Clone, Default)]
pub(crate) enum LoginMethod {
    /// Anonymously, or with a certificate alone.
    #[default]
    None,
    Token(SecretString),
    TokenFile {
        path: PathBuf,
        /// The token beside it, for as long as the file cannot be read.
        token: Option<SecretString>,
    },
    Password {
        name: String,
        password: SecretString,
    },
    Exec(Box<Exec>),
    /// The auth provider `oidc`, with its settings.
    Oidc(BTreeMap<String, String>),
}

/// An exec plugin.
#[derive(Clone, Hash)]
pub(crate) struct Exec {
    pub command: String,
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    pub api_version: String,
    pub install_hint: String,
    pub interactive_mode: InteractiveMode,
    /// `spec.cluster` of its input.
    pub cluster: Option<Value>,
}

/// Whether a plugin uses the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum InteractiveMode {
    Never,
    IfAvailable,
    Always,
}

/// Without secrets.
impl fmt::Debug for LoginMethod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::TokenFile { .. } => "TokenFile",
            Self::Password { .. } => "Password",
            Self::Exec(_) => "Exec",
            Self::Oidc(_) => "Oidc",
        })
    }
}

impl Hash for LoginMethod {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        std::mem::discriminant(self).hash(hasher);
        match self {
            Self::None => {}
            Self::Token(token) => token.expose_secret().hash(hasher),
            Self::TokenFile { path, token } => {
                (path, token.as_ref().map(ExposeSecret::expose_secret)).hash(hasher);
            }
            Self::Password { name, password } => (name, password.expose_secret()).hash(hasher),
            Self::Exec(exec) => exec.hash(hasher),
            Self::Oidc(settings) => settings.hash(hasher),
        }
    }
}

/// The checks of client-go, which it makes for an `http://` server as well.
pub(super) fn check(user: &User) -> Result<(), &'static str> {
    let has = |text: &str| !text.is_empty();
    let password = has(&user.name) || has(user.password.expose_secret());
    if has(user.token.expose_secret()) && password {
        return Err("it has a token and a username or password. kubectl takes only one of them");
    }
    if !user.certificate.is_empty() && user.key.is_empty() {
        return Err("it has a client-certificate and no client-key");
    }
    let impersonation = &user.impersonation;
    let more = has(&impersonation.uid)
        || !impersonation.groups.is_empty()
        || !impersonation.extra.is_empty();
    if more && !has(&impersonation.user) {
        return Err("it has as-uid, as-groups or as-user-extra, and no as");
    }
    match &user.exec {
        Some(_) if user.auth_provider.is_some() => Err("it has exec and auth-provider"),
        Some(exec) => check_exec(exec),
        None => Ok(()),
    }
}

fn check_exec(exec: &ExecEntry) -> Result<(), &'static str> {
    if exec.command.is_empty() {
        return Err("its exec entry has no command");
    }
    if exec.api_version.is_empty() {
        return Err("its exec entry has no apiVersion");
    }
    if exec.variables.iter().any(|(name, _)| name.is_empty()) {
        return Err("its exec entry has an env entry without a name");
    }
    match exec.interactive_mode.as_str() {
        // kubectl demands it with v1. What it means without is known all the same.
        "" | "Never" | "IfAvailable" | "Always" => Ok(()),
        _ => Err("the interactiveMode of its exec entry is not Never, IfAvailable or Always"),
    }
}

/// The login of a user over TLS. Only one way is taken: a token before a password before a certificate
/// before a plugin.
pub(super) fn login(
    user: &User,
    cluster: &ExecCluster<'_>,
    context: &str,
) -> Result<LoginMethod, Error> {
    let bad = |problem: String| Error::InvalidUser { context: context.into(), problem };
    if let Some(exec) = &user.exec
        && !EXEC_VERSIONS.contains(&exec.api_version.as_str())
    {
        return Err(bad(format!(
            "its exec plugin has apiVersion {}, and kubectl knows {}. Use a newer release of the plugin",
            exec.api_version,
            EXEC_VERSIONS.join(" and ")
        )));
    }
    let oidc = user.auth_provider.as_ref().map(|provider| oidc(provider, context)).transpose()?;
    let token = (!user.token.expose_secret().is_empty()).then(|| user.token.clone());
    if !user.token_file.is_empty() {
        if !user.name.is_empty() {
            return Err(bad(
                "it has a tokenFile and a username. kubectl takes only one of them".into()
            ));
        }
        return Ok(LoginMethod::TokenFile { path: PathBuf::from(&user.token_file), token });
    }
    if let Some(token) = token {
        return Ok(LoginMethod::Token(token));
    }
    if !user.name.is_empty() {
        let (name, password) = (user.name.clone(), user.password.clone());
        return Ok(LoginMethod::Password { name, password });
    }
    match &user.exec {
        Some(exec) if user.certificate.is_empty() => {
            Ok(LoginMethod::Exec(Box::new(exec_plugin(exec, cluster))))
        }
        _ => Ok(oidc.map_or(LoginMethod::None, LoginMethod::Oidc)),
    }
}

/// What a plugin may get to know about the cluster.
pub(super) struct ExecCluster<'a> {
    pub cluster: &'a Cluster,
    pub server: &'a str,
    /// The certificate authority, base64 of PEM.
    pub authority: Option<&'a str>,
}

impl ExecCluster<'_> {
    fn json(&self) -> Value {
        let Self { cluster, server, authority } = self;
        let mut json = json!({"server": server, "config": cluster.exec_extension});
        let mut insert = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                json[name] = value;
            }
        };
        let text = |text: &str| (!text.is_empty()).then(|| Value::from(text));
        insert("tls-server-name", text(&cluster.tls_server_name));
        insert("insecure-skip-tls-verify", cluster.insecure.then_some(Value::Bool(true)));
        insert("certificate-authority-data", authority.map(Value::from));
        insert("proxy-url", text(&cluster.proxy_url));
        insert("disable-compression", cluster.disable_compression.then_some(Value::Bool(true)));
        json
    }
}

fn exec_plugin(exec: &ExecEntry, cluster: &ExecCluster<'_>) -> Exec {
    Exec {
        command: exec.command.clone(),
        arguments: exec.arguments.clone(),
        variables: exec.variables.clone(),
        api_version: exec.api_version.clone(),
        install_hint: exec.install_hint.clone(),
        interactive_mode: match exec.interactive_mode.as_str() {
            "Never" => InteractiveMode::Never,
            "Always" => InteractiveMode::Always,
            _ => InteractiveMode::IfAvailable,
        },
        cluster: exec.provide_cluster_info.then(|| cluster.json()),
    }
}

fn oidc(provider: &AuthProvider, context: &str) -> Result<BTreeMap<String, String>, Error> {
    let context = context.to_owned();
    if provider.name != "oidc" {
        let replacement = match provider.name.as_str() {
            "gcp" => Some("gke-gcloud-auth-plugin"),
            "azure" => Some("kubelogin"),
            _ => None,
        };
        let provider = provider.name.clone();
        return Err(Error::UnsupportedAuthProvider { context, provider, replacement });
    }
    let settings: BTreeMap<_, _> = provider.settings.iter().cloned().collect();
    for name in ["idp-issuer-url", "client-id"] {
        if settings.get(name).is_none_or(String::is_empty) {
            let problem = format!("its auth-provider oidc has no {name}");
            return Err(Error::InvalidUser { context, problem });
        }
    }
    Ok(settings)
}
