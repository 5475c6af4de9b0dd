//! Secrets and `ConfigMaps` to which the spec of a pod refers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

use crate::access::cluster::{Action, Cluster, Error};

/// The longest name of an object.
const MAX_NAME: usize = 253;
/// How many objects are read for one question. A spec can name thousands.
pub(super) const MAX_OBJECTS: usize = 64;

/// The kind of an object with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
}

impl Kind {
    /// As a Role names it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub kind: Kind,
    pub name: String,
}

impl Object {
    /// `None` for a name that no object has. The API server takes any text as the name in a volume, and here it
    /// becomes a part of a URL and of messages.
    pub fn new(kind: Kind, name: &str) -> Option<Self> {
        let is_name = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
        };
        let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        let is_valid = bytes.len() <= MAX_NAME
            && bytes.iter().all(|byte| is_name(*byte))
            && is_end(bytes.first())
            && is_end(bytes.last());
        is_valid.then(|| Self { kind, name: name.into() })
    }

    pub fn secret(name: &str) -> Option<Self> {
        Self::new(Kind::Secret, name)
    }

    pub fn config_map(name: &str) -> Option<Self> {
        Self::new(Kind::ConfigMap, name)
    }

    /// The object and its key, for people. `becomes`: the variable or the file that it becomes.
    pub fn describe(&self, key: &str, becomes: &str) -> String {
        format!("{} {}, key {key} ({becomes})", self.kind.name(), self.name)
    }

    /// The object alone, for people.
    pub fn text(&self) -> String {
        format!("{} {}", self.kind.name(), self.name)
    }
}

/// The contents of an object, or nothing if there is no such object.
pub(super) type Data = Option<BTreeMap<String, Vec<u8>>>;

/// Reads objects, each once.
pub(super) struct Objects<'a> {
    cluster: &'a Cluster,
    read: Vec<(Object, Data)>,
    /// The first object that the user may not read.
    pub refusal: Option<Error>,
}

impl<'a> Objects<'a> {
    pub fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, read: Vec::new(), refusal: None }
    }

    /// `None` where there is no such object, or where the user may not read it.
    pub async fn get(&mut self, object: &Object) -> Result<Data, Error> {
        if let Some((_, data)) = self.read.iter().find(|(known, _)| known == object) {
            return Ok(data.clone());
        }
        if self.read.len() >= MAX_OBJECTS {
            return Ok(None);
        }
        let data = match read(self.cluster, object).await {
            Err(error @ Error::Forbidden { .. }) => {
                self.refusal.get_or_insert(error);
                None
            }
            data => data?,
        };
        self.read.push((object.clone(), data.clone()));
        Ok(data)
    }

    /// The resources and the names of the objects that were asked for.
    pub fn names(self) -> Vec<(&'static str, String)> {
        self.read.into_iter().map(|(object, _)| (object.kind.resource(), object.name)).collect()
    }

    pub async fn key(&mut self, object: &Object, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.get(object).await?.and_then(|mut data| data.remove(key)))
    }
}

/// `None` where there is no such object.
async fn read(cluster: &Cluster, object: &Object) -> Result<Data, Error> {
    let action = Action { verb: "get", resource: object.kind.resource() };
    let (client, namespace) = (cluster.client.clone(), cluster.namespace());
    match object.kind {
        Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(client, namespace);
            let secret = cluster.request(action, api.get_opt(&object.name)).await?;
            let data = secret.and_then(|secret| secret.data);
            Ok(data.map(|data| data.into_iter().map(|(key, value)| (key, value.0)).collect()))
        }
        Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client, namespace);
            let map = cluster.request(action, api.get_opt(&object.name)).await?;
            Ok(map.map(|map| {
                let texts = map.data.into_iter().flatten();
                let texts = texts.map(|(key, value)| (key, value.into_bytes()));
                let binary = map.binary_data.into_iter().flatten();
                texts.chain(binary.map(|(key, value)| (key, value.0))).collect()
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects() {
        for name in ["a", "app-0.tls", "0"] {
            assert!(Object::secret(name).is_some(), "{name}");
        }
        let long = "x".repeat(254);
        for name in
            ["", "..", "a/b", "../pods/a", "a?watch=1", "a\u{1b}[2J", "A", "-a", "a.", &long]
        {
            assert_eq!(Object::secret(name), None, "{name:?}");
            assert_eq!(Object::config_map(name), None, "{name:?}");
        }
    }
}
