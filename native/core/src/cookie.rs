//! The Erlang cookie, as the pod got it: from the environment, or a file of a volume, that the pod's
//! spec gives to the container that runs the node; or, when asked for, from the running node itself.

use std::fmt;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, KeyToPath, Pod, Secret, VolumeMount,
};
use kube::Api;

use crate::{
    cluster::{Action, Cluster, Error},
    container::is_cookie,
};

pub mod process;

/// A cookie and where it was found. Its value is shown by nothing but [`Cookie::reveal`].
#[derive(Clone)]
pub struct Cookie {
    value: Vec<u8>,
    source: String,
}

impl Cookie {
    /// The cookie itself, byte for byte what the pod got.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.value
    }

    /// Where it was found, in words for people.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie(from {})", self.source)
    }
}

/// Names that mean a cookie, the best first; after them any name that ends in `COOKIE`.
const NAMES: [&str; 2] = ["RELEASE_COOKIE", "ERLANG_COOKIE"];

/// As a Role names what a cookie may be in.
const SECRETS: &str = "secrets";
const CONFIG_MAPS: &str = "configmaps";

/// Where the VM looks in its home.
const COOKIE_FILE: &str = ".erlang.cookie";

/// The lower the better; `None` for names that mean something else.
fn rank(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name).or_else(|| is_cookie(name).then_some(NAMES.len()))
}

/// Looks for the cookie; `None` where the spec has none.
///
/// # Errors
/// [`Error`], where a Secret or a `ConfigMap` that the spec names may not be read.
pub async fn find(
    cluster: &Cluster,
    pod: &Pod,
    container: &Container,
) -> Result<Option<Cookie>, Error> {
    match from_environment(cluster, container).await? {
        Some(cookie) => Ok(Some(cookie)),
        None => from_volumes(cluster, pod, container).await,
    }
}

/// What the spec refers to for a cookie, as [`find`] would read it: `secrets` or `configmaps`, and
/// the name.
#[must_use]
pub fn refers_to(pod: &Pod, container: &Container) -> Vec<(&'static str, String)> {
    let vars = container.env.iter().flatten().rev();
    let best = vars.filter(|var| rank(&var.name).is_some()).min_by_key(|var| rank(&var.name));
    let source = best.and_then(|var| var.value_from.as_ref()).and_then(|from| {
        let secret = from.secret_key_ref.as_ref().map(|key| (SECRETS, key.name.clone()));
        let map = || from.config_map_key_ref.as_ref().map(|key| (CONFIG_MAPS, key.name.clone()));
        secret.or_else(map)
    });
    if best.is_some_and(|var| NAMES.contains(&var.name.as_str())) {
        return source.into_iter().collect();
    }
    let imported = container.env_from.iter().flatten().filter_map(|from| {
        let secret = from.secret_ref.as_ref().map(|source| (SECRETS, source.name.clone()));
        let map = || from.config_map_ref.as_ref().map(|source| (CONFIG_MAPS, source.name.clone()));
        secret.or_else(map)
    });
    let mounted = mounts(pod, container);
    source.into_iter().chain(imported).chain(mounted).collect()
}

fn mounts(pod: &Pod, container: &Container) -> Vec<(&'static str, String)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volumes = volumes.collect::<Vec<_>>();
    let mounts = container.volume_mounts.iter().flatten().filter_map(|mount| {
        let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
        let (kind, name, items) = match (&volume.secret, &volume.config_map) {
            (Some(secret), _) => (SECRETS, secret.secret_name.as_ref()?, &secret.items),
            (None, Some(map)) => (CONFIG_MAPS, &map.name, &map.items),
            (None, None) => return None,
        };
        cookie_key(mount, name, items.as_deref()).map(|_| (kind, name.clone()))
    });
    mounts.collect()
}

async fn from_environment(
    cluster: &Cluster,
    container: &Container,
) -> Result<Option<Cookie>, Error> {
    // A later variable of the same name wins, as the kubelet has it, and env over envFrom.
    let vars = container.env.iter().flatten().rev();
    let best = vars.filter(|var| rank(&var.name).is_some()).min_by_key(|var| rank(&var.name));
    if let Some(var) = best
        && NAMES.contains(&var.name.as_str())
    {
        return from_var(cluster, container, var).await;
    }
    // A name that only ends like one counts after the well-known ones, wherever those are.
    let imported = from_env_from(cluster, container).await?;
    match (imported, best) {
        (Some((rank, cookie)), _) if rank < NAMES.len() => Ok(Some(cookie)),
        (_, Some(var)) => from_var(cluster, container, var).await,
        (imported, None) => Ok(imported.map(|(_, cookie)| cookie)),
    }
}

/// A file that the VM reads its cookie from, put there from a Secret or a `ConfigMap`.
async fn from_volumes(
    cluster: &Cluster,
    pod: &Pod,
    container: &Container,
) -> Result<Option<Cookie>, Error> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volumes = volumes.collect::<Vec<_>>();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = volumes.iter().find(|volume| volume.name == mount.name) else {
            continue;
        };
        if let Some(source) = &volume.secret
            && let Some(name) = &source.secret_name
            && let Some(key) = cookie_key(mount, name, source.items.as_deref())
        {
            let value = secret(cluster, name).await?.and_then(|mut data| data.remove(&key));
            let from = format!("Secret {name}, key {key} (a file of container {})", container.name);
            return Ok(value.and_then(|value| cookie(as_in_a_file(value), from)));
        }
        if let Some(source) = &volume.config_map
            && let Some(key) = cookie_key(mount, &source.name, source.items.as_deref())
        {
            let name = &source.name;
            let value = config_map(cluster, name).await?.and_then(|mut data| data.remove(&key));
            let from =
                format!("ConfigMap {name}, key {key} (a file of container {})", container.name);
            return Ok(value.and_then(|value| cookie(as_in_a_file(value.into_bytes()), from)));
        }
    }
    Ok(None)
}

/// The key whose file the mount makes a `.erlang.cookie`. A mount of all of a volume has the keys'
/// own names, unless items give them others; whether that key is there only reading it tells, so a
/// source whose name does not speak of a cookie is left alone.
fn cookie_key(mount: &VolumeMount, source: &str, items: Option<&[KeyToPath]>) -> Option<String> {
    let file = mount.mount_path.rsplit('/').next();
    let path = match &mount.sub_path {
        Some(path) if file == Some(COOKIE_FILE) => path.as_str(),
        Some(_) => return None,
        None => COOKIE_FILE,
    };
    match items {
        Some(items) => items.iter().find(|item| item.path == path).map(|item| item.key.clone()),
        None if mount.sub_path.is_some() || source.contains("cookie") => Some(path.to_owned()),
        None => None,
    }
}

/// The VM reads the file up to the end of its line.
fn as_in_a_file(mut value: Vec<u8>) -> Vec<u8> {
    while value.last() == Some(&b'\n') {
        value.pop();
    }
    value
}

async fn from_var(
    cluster: &Cluster,
    container: &Container,
    var: &EnvVar,
) -> Result<Option<Cookie>, Error> {
    let of = format!("{} of container {}", var.name, container.name);
    if let Some(value) = &var.value {
        // The kubelet puts another variable's value there; what it was is not in the spec alone.
        if value.contains("$(") {
            return Ok(None);
        }
        return Ok(cookie(value.clone().into_bytes(), of));
    }
    let from = var.value_from.as_ref();
    if let Some(key) = from.and_then(|from| from.secret_key_ref.as_ref()) {
        let value = secret(cluster, &key.name).await?.and_then(|mut data| data.remove(&key.key));
        let source = format!("Secret {}, key {} ({of})", key.name, key.key);
        return Ok(value.and_then(|value| cookie(value, source)));
    }
    if let Some(key) = from.and_then(|from| from.config_map_key_ref.as_ref()) {
        let value =
            config_map(cluster, &key.name).await?.and_then(|mut data| data.remove(&key.key));
        let source = format!("ConfigMap {}, key {} ({of})", key.name, key.key);
        return Ok(value.and_then(|value| cookie(value.into_bytes(), source)));
    }
    Ok(None)
}

/// `envFrom`: all keys of a Secret or a `ConfigMap`; the last one that has a name wins.
async fn from_env_from(
    cluster: &Cluster,
    container: &Container,
) -> Result<Option<(usize, Cookie)>, Error> {
    let mut best: Option<(usize, Cookie)> = None;
    for from in container.env_from.iter().flatten().rev() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (kind, name, data) = if let Some(source) = &from.secret_ref {
            ("Secret", &source.name, secret(cluster, &source.name).await?)
        } else if let Some(source) = &from.config_map_ref {
            let data = config_map(cluster, &source.name).await?;
            let data =
                data.map(|data| data.into_iter().map(|(k, v)| (k, v.into_bytes())).collect());
            ("ConfigMap", &source.name, data)
        } else {
            continue;
        };
        for (key, value) in data.into_iter().flatten() {
            let variable = format!("{prefix}{key}");
            let Some(rank) = rank(&variable) else { continue };
            let source =
                format!("{kind} {name}, key {key} ({variable} of container {})", container.name);
            if let Some(cookie) = cookie(value, source)
                && best.as_ref().is_none_or(|(other, _)| rank < *other)
            {
                best = Some((rank, cookie));
            }
        }
    }
    Ok(best)
}

fn cookie(value: Vec<u8>, source: String) -> Option<Cookie> {
    // An atom has at most 255 characters; an empty cookie is none.
    (1..=255).contains(&value.len()).then_some(Cookie { value, source })
}

type Data<T> = Option<std::collections::BTreeMap<String, T>>;

async fn secret(cluster: &Cluster, name: &str) -> Result<Data<Vec<u8>>, Error> {
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), cluster.namespace());
    let action = Action { verb: "get", resource: "secrets" };
    let found = cluster.ask(action, api.get_opt(name)).await?;
    let data = found.and_then(|secret| secret.data);
    Ok(data.map(|data| data.into_iter().map(|(key, value)| (key, value.0)).collect()))
}

async fn config_map(cluster: &Cluster, name: &str) -> Result<Data<String>, Error> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), cluster.namespace());
    let action = Action { verb: "get", resource: "configmaps" };
    Ok(cluster.ask(action, api.get_opt(name)).await?.and_then(|map| map.data))
}
