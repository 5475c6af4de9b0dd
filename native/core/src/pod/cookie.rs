//! The Erlang cookie: from the environment, or a file of a volume, that the pod's spec gives to the
//! container of the node; or, on request, from the running node.

use std::fmt;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use kube::Api;

use crate::access::cluster::{Action, Cluster, Error};

pub mod process;
mod sources;

use sources::{Import, Object, ObjectKey, Sources, Variable};

/// A cookie, and where it was found. Only [`Cookie::reveal`] shows its value.
#[derive(Clone)]
pub struct Cookie {
    value: Vec<u8>,
    source: String,
}

impl Cookie {
    /// `None` for a value that cannot be a cookie: an empty one, or one longer than an atom.
    fn new(value: Vec<u8>, source: String) -> Option<Self> {
        (1..=255).contains(&value.len()).then_some(Self { value, source })
    }

    /// The cookie itself, byte for byte.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.value
    }

    /// Where it was found, for people.
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

/// Reads the cookie from the sources in the spec; `None` where none of them has one.
///
/// # Errors
/// [`Error`], where a Secret or a `ConfigMap` in the spec may not be read.
pub async fn find(
    cluster: &Cluster,
    pod: &Pod,
    container: &Container,
) -> Result<Option<Cookie>, Error> {
    let sources = Sources::of(pod, container);
    // A well-known name wins wherever it is. One that only ends in COOKIE comes after all of those.
    let imported = from_imports(cluster, &sources.imports).await?;
    let cookie = match (imported, &sources.variable) {
        (Some((rank, cookie)), _) if sources::is_well_known(rank) => Some(cookie),
        (_, Some(variable)) => from_variable(cluster, variable).await?,
        (imported, None) => imported.map(|(_, cookie)| cookie),
    };
    if cookie.is_some() {
        return Ok(cookie);
    }
    for file in &sources.files {
        let value = read_key(cluster, file).await?;
        if let Some(cookie) =
            value.and_then(|value| Cookie::new(first_line(value), file.describe()))
        {
            return Ok(Some(cookie));
        }
    }
    Ok(None)
}

/// The objects that [`find`] may read: `secrets` or `configmaps`, and the name.
#[must_use]
pub fn objects(pod: &Pod, container: &Container) -> Vec<(&'static str, String)> {
    let objects = Sources::of(pod, container).objects();
    objects.into_iter().map(|object| (object.kind.resource(), object.name)).collect()
}

async fn from_variable(cluster: &Cluster, variable: &Variable) -> Result<Option<Cookie>, Error> {
    match variable {
        Variable::Value { value, source } => {
            Ok(Cookie::new(value.clone().into_bytes(), source.clone()))
        }
        Variable::Key(key) => {
            let value = read_key(cluster, key).await?;
            Ok(value.and_then(|value| Cookie::new(value, key.describe())))
        }
    }
}

/// The best cookie among the keys of these objects, and the rank of its name. Of equal names the first
/// counts.
async fn from_imports(
    cluster: &Cluster,
    imports: &[Import],
) -> Result<Option<(usize, Cookie)>, Error> {
    let mut best: Option<(usize, Cookie)> = None;
    for import in imports {
        for (key, value) in read(cluster, &import.object).await?.into_iter().flatten() {
            let variable = format!("{}{key}", import.prefix);
            let Some(rank) = sources::rank(&variable) else { continue };
            if best.as_ref().is_none_or(|(other, _)| rank < *other)
                && let Some(cookie) = Cookie::new(value, import.describe(&key, &variable))
            {
                best = Some((rank, cookie));
            }
        }
    }
    Ok(best)
}

/// The VM reads a cookie file up to the end of the line.
fn first_line(mut value: Vec<u8>) -> Vec<u8> {
    while value.last() == Some(&b'\n') {
        value.pop();
    }
    value
}

type Data = Option<std::collections::BTreeMap<String, Vec<u8>>>;

async fn read_key(cluster: &Cluster, key: &ObjectKey) -> Result<Option<Vec<u8>>, Error> {
    Ok(read(cluster, &key.object).await?.and_then(|mut data| data.remove(&key.key)))
}

/// `None` where there is no such object.
async fn read(cluster: &Cluster, object: &Object) -> Result<Data, Error> {
    let action = Action { verb: "get", resource: object.kind.resource() };
    let (client, namespace) = (cluster.client.clone(), cluster.namespace());
    match object.kind {
        sources::Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(client, namespace);
            let secret = cluster.request(action, api.get_opt(&object.name)).await?;
            let data = secret.and_then(|secret| secret.data);
            Ok(data.map(|data| data.into_iter().map(|(key, value)| (key, value.0)).collect()))
        }
        sources::Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client, namespace);
            let map = cluster.request(action, api.get_opt(&object.name)).await?;
            let data = map.and_then(|map| map.data);
            Ok(data.map(|data| {
                data.into_iter().map(|(key, value)| (key, value.into_bytes())).collect()
            }))
        }
    }
}
