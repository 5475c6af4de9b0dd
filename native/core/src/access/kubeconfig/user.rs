//! Whether the user entry of a context can be used at all.

use kube::config::{AuthInfo, ExecConfig, Kubeconfig};

use super::{Error, filled};

/// Versions of `ExecCredential` that a plugin may speak.
const EXEC_VERSIONS: [&str; 2] =
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// kube treats a missing user as an anonymous one. `kubectl` refuses, and so do we.
pub(super) fn check_exists(kubeconfig: &Kubeconfig, context: &str) -> Result<(), Error> {
    let user = kubeconfig
        .contexts
        .iter()
        .find(|named| named.name == context)
        .and_then(|named| named.context.as_ref()?.user.as_deref())
        .and_then(filled);
    match user {
        Some(user) if kubeconfig.auth_infos.iter().all(|named| named.name != user) => {
            Err(Error::UnknownUser { context: context.into(), user })
        }
        _ => Ok(()),
    }
}

pub(super) fn check_login(user: &AuthInfo, context: &str) -> Result<(), Error> {
    let context = || context.to_owned();
    if let Some(provider) = user.auth_provider.as_ref().filter(|provider| provider.name != "oidc") {
        let replacement = match provider.name.as_str() {
            "gcp" => Some("gke-gcloud-auth-plugin"),
            "azure" => Some("kubelogin"),
            _ => None,
        };
        let provider = provider.name.clone();
        return Err(Error::UnsupportedAuthProvider { context: context(), provider, replacement });
    }
    match &user.exec {
        Some(exec) => {
            check_exec(exec).map_err(|problem| Error::InvalidUser { context: context(), problem })
        }
        None => Ok(()),
    }
}

fn check_exec(exec: &ExecConfig) -> Result<(), String> {
    if exec.command.as_deref().unwrap_or_default().is_empty() {
        return Err("its exec entry names no command".into());
    }
    match exec.api_version.as_deref() {
        Some(version) if EXEC_VERSIONS.contains(&version) => Ok(()),
        version => Err(format!(
            "its exec plugin speaks {}, and what is known is {}; a newer release of the plugin will do",
            version.unwrap_or("no version"),
            EXEC_VERSIONS.join(" and ")
        )),
    }
}
