//! Resolves one context of the kubeconfig files: the server, the user, and the namespace.
//!
//! The rules are those of `kubectl`. An explicit file wins and must exist. Otherwise the files of
//! `KUBECONFIG` are merged: the first value wins, and missing files are skipped. Without `KUBECONFIG` it is
//! `~/.kube/config`. See <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>.

use std::{
    ffi::OsString,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::{environment::Environment, proxy::Proxy, tls};

mod error;
mod files;
mod in_cluster;
mod user;

pub use error::Error;
pub(crate) use error::explain;
pub use files::existing_files;
pub(crate) use in_cluster::CONTEXT as IN_CLUSTER;

/// Where to look for kubeconfig files. The environment is passed in: a NIF does not see what
/// `System.put_env/2` sets.
#[derive(Debug, Default, Clone)]
pub struct Source {
    /// An explicit file.
    pub file: Option<PathBuf>,
    /// The value of `KUBECONFIG`: a list of files.
    pub list: Option<OsString>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// The folder of a pod's service account, used without a kubeconfig.
    pub service_account: Option<PathBuf>,
    /// All variables: they configure proxies, and plugins get them.
    pub environment: Environment,
    /// Whether a plugin may use the terminal, to ask its user.
    pub interactive: bool,
}

/// What to select in the kubeconfig; `None` selects its default.
#[derive(Debug, Default, Clone)]
pub struct Selection {
    /// A context's name instead of `current-context`.
    pub context: Option<String>,
    /// A namespace instead of the context's.
    pub namespace: Option<String>,
}

/// A hash of everything a [`ClientConfig`] was made of. Equal ones lead to the same server as the same
/// user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

/// A resolved context: everything that the client for its API server needs.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Of the context's name and the contents of all files read for it. `None` where one of them can be
    /// read only once.
    pub fingerprint: Option<Fingerprint>,
    /// The name of the context.
    pub context: String,
    /// The selected namespace.
    pub namespace: String,
    /// The same for kube, without a proxy.
    pub kube: kube::Config,
    /// The proxy to the server.
    pub proxy: Option<Proxy>,
    /// The environment for a plugin.
    pub environment: Environment,
    /// Whether a plugin may use the terminal.
    pub interactive: bool,
}

/// Reads and merges the kubeconfig files and resolves one context of them. Without any file, a pod's
/// service account is used, unless a file or a context was given. Each file has a time limit.
///
/// # Errors
/// Every variant of [`Error`].
pub async fn resolve(source: &Source, selection: Selection) -> Result<ClientConfig, Error> {
    let kubeconfig = match files::load(source).await {
        Err(error @ Error::NotFound { .. }) => {
            if source.file.is_some() || selection.context.is_some() {
                return Err(error);
            }
            return match in_cluster::find(source).await {
                Some(found) => client_config(source, found?, selection.namespace).await,
                None => Err(error),
            };
        }
        kubeconfig => kubeconfig?,
    };
    let context = choose_context(&kubeconfig, selection.context)?;
    user::check_exists(&kubeconfig, &context)?;
    let found = find_context(kubeconfig, context).await?;
    client_config(source, found, selection.namespace).await
}

/// A context, or the service account in its place.
struct Found {
    context: String,
    config: kube::Config,
    /// The `proxy-url` of the cluster.
    proxy: Option<String>,
}

async fn find_context(mut kubeconfig: Kubeconfig, context: String) -> Result<Found, Error> {
    let proxy = take_proxy(&mut kubeconfig, &context);
    files::inline_certificates(&mut kubeconfig, &context).await?;
    let authority = take_authority(&mut kubeconfig, &context)?;
    let options = KubeConfigOptions { context: Some(context.clone()), ..Default::default() };
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| explain(&error, &context))?;
    config.proxy_url = None;
    config.root_cert = authority.as_deref().map(tls::certificates);
    user::check_login(&config.auth_info, &context)?;
    if let Some(cluster) = config.auth_info.exec.as_mut().and_then(|exec| exec.cluster.as_mut()) {
        cluster.proxy_url.clone_from(&proxy);
        cluster.certificate_authority_data = authority;
    }
    Ok(Found { context, config, proxy })
}

/// We choose the proxy. Without a `proxy-url` kube would read the environment of the whole VM, so it always
/// gets one.
fn take_proxy(kubeconfig: &mut Kubeconfig, context: &str) -> Option<String> {
    let entry = kubeconfig.contexts.iter().find(|named| named.name == context)?;
    let name = &entry.context.as_ref()?.cluster;
    let named = kubeconfig.clusters.iter_mut().find(|named| &named.name == name)?;
    named.cluster.as_mut()?.proxy_url.replace("http://none".into())
}

/// The PEM of the authorities. kube would refuse a bundle for one broken certificate.
fn take_authority(kubeconfig: &mut Kubeconfig, context: &str) -> Result<Option<Vec<u8>>, Error> {
    let Some(entry) = kubeconfig.contexts.iter().find(|named| named.name == context) else {
        return Ok(None);
    };
    let name = entry.context.as_ref().map(|entry| &entry.cluster);
    let named = kubeconfig.clusters.iter_mut().find(|named| Some(&named.name) == name);
    let Some(cluster) = named.and_then(|named| named.cluster.as_mut()) else { return Ok(None) };
    cluster.certificate_authority = None;
    let Some(data) = cluster.certificate_authority_data.take() else { return Ok(None) };
    let pem = BASE64_STANDARD.decode(data).map_err(|_| Error::InvalidCluster {
        context: context.into(),
        problem: "certificate-authority-data is not base64".into(),
    })?;
    Ok(Some(pem).filter(|pem| !pem.is_empty()))
}

async fn client_config(
    source: &Source,
    found: Found,
    namespace: Option<String>,
) -> Result<ClientConfig, Error> {
    let Found { context, config: kube, proxy } = found;
    let proxy = choose_proxy(proxy.as_deref(), &kube.cluster_url, source, &context)?;
    let fingerprint = fingerprint(source, &context, &kube, proxy.as_ref()).await;
    let namespace =
        namespace.or_else(|| filled(&kube.default_namespace)).unwrap_or_else(|| "default".into());
    if !is_dns_label(&namespace) {
        return Err(Error::InvalidNamespace { namespace });
    }
    let (environment, interactive) = (source.environment.clone(), source.interactive);
    Ok(ClientConfig { fingerprint, context, namespace, kube, proxy, environment, interactive })
}

fn choose_proxy(
    named: Option<&str>,
    server: &Uri,
    source: &Source,
    context: &str,
) -> Result<Option<Proxy>, Error> {
    Proxy::choose(named, server, &source.environment).map_err(|invalid| Error::InvalidProxy {
        context: context.into(),
        from: invalid.from,
        problem: invalid.problem,
    })
}

async fn fingerprint(
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
        // The answer of a plugin depends on it.
        source.environment.hash(&mut hasher);
    }
    let named = [&user.client_certificate, &user.client_key, &user.token_file];
    let named = named.into_iter().flatten().map(PathBuf::from);
    let paths = files::candidates(source).into_iter().chain(named).collect();
    files::digest(paths).await?.hash(&mut hasher);
    Some(Fingerprint(hasher.finish()))
}

fn choose_context(kubeconfig: &Kubeconfig, requested: Option<String>) -> Result<String, Error> {
    let available = || kubeconfig.contexts.iter().map(|named| named.name.clone()).collect();
    let context = requested
        .or_else(|| kubeconfig.current_context.as_deref().and_then(filled))
        .ok_or_else(|| Error::NoContext { available: available() })?;
    if kubeconfig.contexts.iter().any(|named| named.name == context && named.context.is_some()) {
        Ok(context)
    } else {
        Err(Error::UnknownContext { context, available: available() })
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A namespace is an RFC 1123 label. Anything else could change the path of the URL.
fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests;
