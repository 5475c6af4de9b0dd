//! From kubeconfig files to one context: which server, as whom, in which namespace.
//!
//! The rules are those of `kubectl`: an explicit file wins and must exist; else the files of
//! `KUBECONFIG` are merged, first value wins, and those that do not exist are skipped; else
//! `~/.kube/config`. See <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>.

use std::{
    ffi::OsString,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
};

use http::Uri;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};

use crate::{auth::exec, environment::Environment, proxy::Proxy};

mod error;
mod files;
mod in_cluster;

pub use error::Error;
pub(crate) use error::explain;
pub use files::files;
pub(crate) use in_cluster::CONTEXT as IN_CLUSTER;

/// Where kubeconfig files are looked for. What comes from the environment is passed in: a NIF
/// does not see what `System.put_env/2` sets.
#[derive(Debug, Default, Clone)]
pub struct Source {
    /// The file that was asked for by name.
    pub file: Option<PathBuf>,
    /// The value of `KUBECONFIG`: a list of files.
    pub list: Option<OsString>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// The folder of a pod's service account, which counts where there is no kubeconfig.
    pub service_account: Option<PathBuf>,
    /// All variables: they name proxies, and plugins get them.
    pub environment: Environment,
    /// Whether a plugin may have the terminal, to ask its user.
    pub interactive: bool,
}

/// What to take from the kubeconfig; `None` takes its own default.
#[derive(Debug, Default, Clone)]
pub struct Selection {
    /// A context's name instead of `current-context`.
    pub context: Option<String>,
    /// A namespace instead of the context's.
    pub namespace: Option<String>,
}

/// Stands for all that an [`Access`] was made of: the same one leads to the same server, as the
/// same user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

/// One context, resolved: all that is needed to talk to its API server.
#[derive(Debug, Clone)]
pub struct Access {
    /// Of the context's name and the contents of all files that were read for it.
    pub fingerprint: Option<Fingerprint>,
    /// The name of the context.
    pub context: String,
    /// The namespace to work in.
    pub namespace: String,
    /// kube's view of the same, without a proxy.
    pub config: kube::Config,
    /// The proxy on the way to the server.
    pub proxy: Option<Proxy>,
    /// What a plugin gets.
    pub environment: Environment,
    /// Whether a plugin may have the terminal.
    pub interactive: bool,
}

/// Reads and merges the kubeconfig files and resolves one context of them. Where there is no file
/// and none was asked for, a pod's service account will do.
///
/// # Errors
/// Every variant of [`Error`]; files are read here, so this blocks for as long as the disk does.
pub async fn resolve(source: &Source, selection: Selection) -> Result<Access, Error> {
    let kubeconfig = match files::read(source) {
        Err(error @ Error::NotFound { .. }) => {
            let asked = source.file.is_some() || selection.context.is_some();
            return match in_cluster::find(source) {
                Some(found) if !asked => access(source, found?, selection.namespace),
                _ => Err(error),
            };
        }
        kubeconfig => kubeconfig?,
    };
    let context = choose_context(&kubeconfig, selection.context)?;
    confirm_user(&kubeconfig, &context)?;
    access(source, of_context(kubeconfig, context).await?, selection.namespace)
}

/// A context, or what takes its place.
struct Found {
    context: String,
    config: kube::Config,
    /// The proxy that it names.
    proxy: Option<String>,
}

async fn of_context(mut kubeconfig: Kubeconfig, context: String) -> Result<Found, Error> {
    let proxy = take_proxy(&mut kubeconfig, &context);
    let options = KubeConfigOptions { context: Some(context.clone()), ..Default::default() };
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| explain(&error, &context))?;
    config.proxy_url = None;
    confirm_login(&config.auth_info, &context)?;
    if let Some(cluster) = config.auth_info.exec.as_mut().and_then(|exec| exec.cluster.as_mut()) {
        cluster.proxy_url.clone_from(&proxy);
    }
    Ok(Found { context, config, proxy })
}

/// The proxy is chosen by us. kube would ask the environment of the whole VM where none is named,
/// so there is always one named for it.
fn take_proxy(kubeconfig: &mut Kubeconfig, context: &str) -> Option<String> {
    let of_context = kubeconfig.contexts.iter().find(|named| named.name == context)?;
    let name = &of_context.context.as_ref()?.cluster;
    let named = kubeconfig.clusters.iter_mut().find(|named| &named.name == name)?;
    named.cluster.as_mut()?.proxy_url.replace("http://none".into())
}

fn access(source: &Source, found: Found, namespace: Option<String>) -> Result<Access, Error> {
    let Found { context, config, proxy } = found;
    let proxy = choose_proxy(proxy.as_deref(), &config.cluster_url, source, &context)?;
    let fingerprint = fingerprint(source, &context, &config, proxy.as_ref());
    let namespace = namespace
        .or_else(|| some_text(&config.default_namespace))
        .unwrap_or_else(|| "default".into());
    if !is_dns_label(&namespace) {
        return Err(Error::BadNamespace { namespace });
    }
    let (environment, interactive) = (source.environment.clone(), source.interactive);
    Ok(Access { fingerprint, context, namespace, config, proxy, environment, interactive })
}

fn choose_proxy(
    named: Option<&str>,
    server: &Uri,
    source: &Source,
    context: &str,
) -> Result<Option<Proxy>, Error> {
    Proxy::choose(named, server, &source.environment).map_err(|unusable| Error::BadProxy {
        context: context.into(),
        from: unusable.from,
        problem: unusable.problem,
    })
}

/// `None` where a file cannot be read twice: then it is like no other.
fn fingerprint(
    source: &Source,
    context: &str,
    config: &kube::Config,
    proxy: Option<&Proxy>,
) -> Option<Fingerprint> {
    let mut hasher = DefaultHasher::new();
    context.hash(&mut hasher);
    config.cluster_url.hash(&mut hasher);
    config.root_cert.hash(&mut hasher);
    proxy.hash(&mut hasher);
    let user = &config.auth_info;
    if user.exec.is_some() {
        // What a plugin answers depends on it.
        source.environment.hash(&mut hasher);
    }
    let named = [&user.client_certificate, &user.client_key, &user.token_file];
    let named = named.into_iter().flatten().map(PathBuf::from);
    for path in files::candidates(source).into_iter().chain(named) {
        path.hash(&mut hasher);
        match std::fs::metadata(&path) {
            Ok(file) if file.is_file() => std::fs::read(&path).ok()?.hash(&mut hasher),
            Ok(_) => return None,
            Err(_) => {} // skipped by the reader, too
        }
    }
    Some(Fingerprint(hasher.finish()))
}

fn choose_context(kubeconfig: &Kubeconfig, wanted: Option<String>) -> Result<String, Error> {
    let known = || kubeconfig.contexts.iter().map(|named| named.name.clone()).collect();
    let context = wanted
        .or_else(|| kubeconfig.current_context.as_deref().and_then(some_text))
        .ok_or_else(|| Error::NoContext { known: known() })?;
    if kubeconfig.contexts.iter().any(|named| named.name == context && named.context.is_some()) {
        Ok(context)
    } else {
        Err(Error::UnknownContext { context, known: known() })
    }
}

/// kube takes a user who is not there for an anonymous one; `kubectl` refuses, and so do we.
fn confirm_user(kubeconfig: &Kubeconfig, context: &str) -> Result<(), Error> {
    let user = kubeconfig
        .contexts
        .iter()
        .find(|named| named.name == context)
        .and_then(|named| named.context.as_ref()?.user.as_deref())
        .and_then(some_text);
    match user {
        Some(user) if kubeconfig.auth_infos.iter().all(|named| named.name != user) => {
            Err(Error::UnknownUser { context: context.into(), user })
        }
        _ => Ok(()),
    }
}

fn confirm_login(user: &AuthInfo, context: &str) -> Result<(), Error> {
    let context = || context.to_owned();
    if let Some(provider) = user.auth_provider.as_ref().filter(|given| given.name != "oidc") {
        let replacement = match provider.name.as_str() {
            "gcp" => Some("gke-gcloud-auth-plugin"),
            "azure" => Some("kubelogin"),
            _ => None,
        };
        let provider = provider.name.clone();
        return Err(Error::OldAuthProvider { context: context(), provider, replacement });
    }
    match &user.exec {
        Some(exec) => {
            exec::confirm(exec).map_err(|problem| Error::BadUser { context: context(), problem })
        }
        None => Ok(()),
    }
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// RFC 1123 label, which is what a namespace is; anything else could lead out of the URL's path.
fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests;
