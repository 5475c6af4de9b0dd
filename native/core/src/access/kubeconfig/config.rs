//! A context, as the client for its API server needs it.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;
use kube::config::AuthInfo;
use secrecy::{ExposeSecret, SecretString};

use super::{
    ClientConfig, Error, Fingerprint, LoginMethod, PluginPolicy, Source,
    document::{Cluster, Document, Impersonation, User},
    files, filled, is_dns_label,
    server::Server,
    user::{self, ExecCluster},
};
use crate::access::{files as any_files, proxy::Proxy, tls};

/// A context, or the service account in its place.
pub(super) struct Found {
    pub context: String,
    pub kube: kube::Config,
    pub login: LoginMethod,
    pub credentials_withheld: bool,
    /// The `proxy-url` of the cluster.
    pub proxy: Option<String>,
}

/// # Errors
/// Where client-go makes no client of the entries.
pub(super) async fn find_context(document: &Document, context: String) -> Result<Found, Error> {
    let (cluster, user, namespace) = entries(document, &context)?;
    let bad_cluster = |problem: String| Error::InvalidCluster { context: context.clone(), problem };
    let bad_user = |problem: String| Error::InvalidUser { context: context.clone(), problem };
    if cluster.server.is_empty() {
        return Err(bad_cluster("it has no server".into()));
    }
    user::check(user).map_err(|problem| bad_user(problem.into()))?;
    let server = Server::parse(&cluster.server).map_err(bad_cluster)?;
    let contents = [
        files::contents("certificate-authority", &cluster.authority).await.map_err(bad_cluster)?,
        files::contents("client-certificate", &user.certificate).await.map_err(bad_user)?,
        // Without a certificate a key is not used.
        if user.certificate.is_empty() {
            None
        } else {
            files::contents("client-key", &user.key).await.map_err(bad_user)?
        },
    ];

    let mut kube = kube::Config::new(server.url.clone());
    kube.default_namespace = namespace;
    kube.disable_compression = cluster.disable_compression;
    kube.auth_info = impersonating(&user.impersonation);
    let mut login = LoginMethod::None;
    // As client-go: over plain HTTP there are no credentials.
    if server.is_tls() {
        let [authority, certificate, key] = contents;
        trust(&mut kube, cluster, authority.as_deref()).map_err(bad_cluster)?;
        let encoded = |contents: Vec<u8>| BASE64_STANDARD.encode(contents);
        let authority = authority.map(encoded);
        kube.auth_info.client_certificate_data = certificate.map(encoded);
        kube.auth_info.client_key_data = key.map(|key| SecretString::from(encoded(key)));
        let authority = authority.as_deref();
        let exec = ExecCluster { cluster, server: &server.text, authority };
        login = user::login(user, &exec, &context)?;
    }
    // Go sends it with every request that has no credentials yet, and adds others later.
    if let Some((name, password)) = server.login.clone() {
        login = LoginMethod::Password { name, password };
    }
    let credentials_withheld =
        !server.is_tls() && matches!(login, LoginMethod::None) && user.has_credentials();
    let proxy = filled(&cluster.proxy_url);
    Ok(Found { context, kube, login, credentials_withheld, proxy })
}

fn entries<'a>(
    document: &'a Document,
    context: &str,
) -> Result<(&'a Cluster, &'a User, String), Error> {
    let unknown =
        || Error::UnknownContext { context: context.into(), available: document.contexts.names() };
    let entry = document.contexts.get(context).ok_or_else(unknown)?;
    let cluster = document.clusters.get(&entry.cluster).ok_or_else(|| Error::UnknownCluster {
        context: context.into(),
        cluster: entry.cluster.clone(),
    })?;
    let user = match document.users.get(&entry.user) {
        Some(user) => user,
        None if entry.user.is_empty() => &ANONYMOUS,
        // kubectl asks for a name and a password then.
        None => {
            let (context, user) = (context.into(), entry.user.clone());
            return Err(Error::UnknownUser { context, user });
        }
    };
    Ok((cluster, user, entry.namespace.clone()))
}

static ANONYMOUS: std::sync::LazyLock<User> = std::sync::LazyLock::new(User::default);

fn trust(kube: &mut kube::Config, cluster: &Cluster, pem: Option<&[u8]>) -> Result<(), String> {
    if cluster.insecure && pem.is_some() {
        return Err(
            "it has insecure-skip-tls-verify and a certificate-authority. kubectl takes only one \
                    of them"
                .into(),
        );
    }
    if let Some(pem) = pem {
        let certificates = tls::certificates(pem);
        if certificates.is_empty() {
            return Err("its certificate-authority has no PEM block CERTIFICATE".into());
        }
        kube.root_cert = Some(certificates);
    }
    kube.accept_invalid_certs = cluster.insecure;
    kube.tls_server_name = filled(&cluster.tls_server_name);
    Ok(())
}

fn impersonating(impersonation: &Impersonation) -> AuthInfo {
    let Impersonation { user, uid, groups, extra } = impersonation;
    AuthInfo {
        impersonate: filled(user),
        impersonate_uid: filled(uid),
        impersonate_groups: (!groups.is_empty()).then(|| groups.clone()),
        impersonate_user_extra: (!extra.is_empty()).then(|| extra.iter().cloned().collect()),
        ..AuthInfo::default()
    }
}

/// # Errors
/// For a proxy, a namespace or a policy for plugins that cannot be used.
pub(super) async fn client_config(
    source: &Source,
    found: Found,
    namespace: Option<String>,
) -> Result<ClientConfig, Error> {
    let Found { context, kube, login, credentials_withheld, proxy } = found;
    let proxy = choose_proxy(proxy.as_deref(), &kube.cluster_url, source, &context)?;
    let namespace =
        namespace.or_else(|| filled(&kube.default_namespace)).unwrap_or_else(|| "default".into());
    if !is_dns_label(&namespace) {
        return Err(Error::InvalidNamespace { namespace });
    }
    let plugin_policy = match login {
        LoginMethod::Exec(_) => PluginPolicy::load(source).await?,
        _ => PluginPolicy::default(),
    };
    let (environment, interactive) = (source.environment.clone(), source.interactive);
    let mut config = ClientConfig {
        fingerprint: None,
        context,
        namespace,
        kube,
        proxy,
        environment,
        interactive,
        login,
        credentials_withheld,
        plugin_policy,
    };
    config.fingerprint = Some(fingerprint(&config).await);
    Ok(config)
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

async fn fingerprint(config: &ClientConfig) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    let ClientConfig { context, kube, proxy, login, plugin_policy, .. } = config;
    (context, &kube.cluster_url, &kube.root_cert, &kube.tls_server_name).hash(&mut hasher);
    (kube.accept_invalid_certs, proxy, login, plugin_policy).hash(&mut hasher);
    let user = &kube.auth_info;
    let key = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
    (&user.client_certificate_data, key).hash(&mut hasher);
    (&user.impersonate, &user.impersonate_uid, &user.impersonate_groups).hash(&mut hasher);
    if let Some(extra) = &user.impersonate_user_extra {
        let mut extra: Vec<_> = extra.iter().collect();
        extra.sort();
        extra.hash(&mut hasher);
    }
    match login {
        // The answer of a plugin depends on it.
        LoginMethod::Exec(_) => config.environment.hash(&mut hasher),
        LoginMethod::TokenFile { path, .. } => {
            any_files::read(path).await.ok().hash(&mut hasher);
        }
        _ => {}
    }
    Fingerprint::of(hasher.finish())
}
