//! Where the spec of a pod says that the cookie may be. One list, for attach to read and for the doctor to
//! show.

use k8s_openapi::api::core::v1::{Container, EnvVar, KeyToPath, Pod, VolumeMount};

use crate::pod::container::is_cookie;

/// Names that mean a cookie, the best first. After them comes any name that ends in `COOKIE`.
const NAMES: [&str; 2] = ["RELEASE_COOKIE", "ERLANG_COOKIE"];

/// The file that the VM reads in its home.
const COOKIE_FILE: &str = ".erlang.cookie";

/// The kind of an object with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub kind: Kind,
    pub name: String,
}

/// One key of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ObjectKey {
    pub object: Object,
    pub key: String,
    /// Whether the container starts without it.
    optional: bool,
    /// The variable or file that it becomes.
    becomes: String,
}

impl ObjectKey {
    pub fn describe(&self) -> String {
        let Object { kind, name } = &self.object;
        format!("{} {name}, key {} ({})", kind.name(), self.key, self.becomes)
    }
}

/// A variable of the container.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Value { value: String, source: String },
    Key(ObjectKey),
}

/// `envFrom`: each key becomes a variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub object: Object,
    pub prefix: String,
    container: String,
}

impl Import {
    pub fn describe(&self, key: &str, variable: &str) -> String {
        let Object { kind, name } = &self.object;
        format!("{} {name}, key {key} ({variable} of container {})", kind.name(), self.container)
    }
}

/// All sources of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// The variable with the best name.
    pub variable: Option<Variable>,
    /// The first one wins. There are none beside a variable with a well-known name.
    pub imports: Vec<Import>,
    /// Cookie files in volumes, read where there is no cookie in the environment.
    pub files: Vec<ObjectKey>,
}

impl Sources {
    pub fn of(pod: &Pod, container: &Container) -> Self {
        // As the kubelet has it, the last variable of a name wins.
        let variables = container.env.iter().flatten().rev();
        let ranked = variables.filter_map(|var| Some((rank(&var.name)?, var)));
        let best = ranked.min_by_key(|(rank, _)| *rank);
        let variable = best.and_then(|(_, var)| variable(container, var));
        let well_known = best.is_some_and(|(rank, _)| is_well_known(rank));
        // `env` wins over `envFrom`.
        let imports = if well_known { vec![] } else { imports(container) };
        let certain = well_known && variable.as_ref().is_some_and(is_certain);
        let files = if certain { vec![] } else { files(pod, container) };
        Self { variable, imports, files }
    }

    pub fn objects(self) -> Vec<Object> {
        let variable = self.variable.and_then(|variable| match variable {
            Variable::Key(key) => Some(key.object),
            Variable::Value { .. } => None,
        });
        let imports = self.imports.into_iter().map(|import| import.object);
        let files = self.files.into_iter().map(|file| file.object);
        variable.into_iter().chain(imports).chain(files).collect()
    }
}

/// The lower the better; `None` for names that mean something else.
pub(super) fn rank(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name).or_else(|| is_cookie(name).then_some(NAMES.len()))
}

pub(super) fn is_well_known(rank: usize) -> bool {
    rank < NAMES.len()
}

/// Whether the variable exists in a running container, so that no other source counts.
fn is_certain(variable: &Variable) -> bool {
    match variable {
        Variable::Value { .. } => true,
        Variable::Key(key) => !key.optional,
    }
}

fn variable(container: &Container, var: &EnvVar) -> Option<Variable> {
    let becomes = format!("{} of container {}", var.name, container.name);
    if let Some(value) = &var.value {
        // The kubelet expands a reference, to a value that the spec alone may not have.
        let has_reference = value.contains("$(");
        let value = || Variable::Value { value: value.clone(), source: becomes };
        return (!has_reference).then(value);
    }
    let from = var.value_from.as_ref()?;
    let (kind, name, key, optional) = match (&from.secret_key_ref, &from.config_map_key_ref) {
        (Some(from), _) => (Kind::Secret, &from.name, &from.key, from.optional),
        (None, Some(from)) => (Kind::ConfigMap, &from.name, &from.key, from.optional),
        (None, None) => return None,
    };
    let object = Object { kind, name: name.clone() };
    let optional = optional.unwrap_or(false);
    Some(Variable::Key(ObjectKey { object, key: key.clone(), optional, becomes }))
}

fn imports(container: &Container) -> Vec<Import> {
    // The last one that has a name wins.
    let imports = container.env_from.iter().flatten().rev().filter_map(|from| {
        let (kind, name) = match (&from.secret_ref, &from.config_map_ref) {
            (Some(from), _) => (Kind::Secret, &from.name),
            (None, Some(from)) => (Kind::ConfigMap, &from.name),
            (None, None) => return None,
        };
        Some(Import {
            object: Object { kind, name: name.clone() },
            prefix: from.prefix.clone().unwrap_or_default(),
            container: container.name.clone(),
        })
    });
    imports.collect()
}

fn files(pod: &Pod, container: &Container) -> Vec<ObjectKey> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volumes = volumes.collect::<Vec<_>>();
    let files = container.volume_mounts.iter().flatten().filter_map(|mount| {
        let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
        let (kind, name, items) = match (&volume.secret, &volume.config_map) {
            (Some(from), _) => (Kind::Secret, from.secret_name.as_ref()?, &from.items),
            (None, Some(from)) => (Kind::ConfigMap, &from.name, &from.items),
            (None, None) => return None,
        };
        Some(ObjectKey {
            key: cookie_key(mount, name, items.as_deref())?,
            object: Object { kind, name: name.clone() },
            optional: true,
            becomes: format!("a file of container {}", container.name),
        })
    });
    files.collect()
}

/// The key that the mount makes a `.erlang.cookie`. In a mount of a whole volume the files have the names of
/// the keys, unless items rename them. Only reading the object shows whether it has that key, so an object
/// whose name does not contain `cookie` is skipped.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn sources(container: &Value) -> Sources {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "containers": [container],
            "volumes": [
                {"name": "home", "secret": {"secretName": "cookie-file"}},
                {"name": "map", "configMap": {"name": "cookie-map"}},
                {"name": "other", "secret": {"secretName": "tls"}},
            ],
        }}))
        .unwrap();
        Sources::of(&pod, &pod.spec.as_ref().unwrap().containers[0])
    }

    fn names(container: &Value) -> Vec<String> {
        let objects = sources(container).objects().into_iter();
        objects.map(|object| format!("{} {}", object.kind.resource(), object.name)).collect()
    }

    fn secret_variable(name: &str, optional: bool) -> Value {
        let key = json!({"name": "a", "key": "c", "optional": optional});
        json!({"name": name, "valueFrom": {"secretKeyRef": key}})
    }

    #[test]
    fn a_well_known_variable_is_the_only_source_unless_it_is_optional() {
        let container = |variable: &Value| {
            json!({"name": "app", "env": [variable],
                "envFrom": [{"secretRef": {"name": "not-read"}}],
                "volumeMounts": [{"name": "home", "mountPath": "/root"}]})
        };
        let value = json!({"name": "RELEASE_COOKIE", "value": "x"});
        assert_eq!(names(&container(&value)), [""; 0]);
        let found = sources(&container(&value)).variable;
        let source = "RELEASE_COOKIE of container app".to_owned();
        assert_eq!(found, Some(Variable::Value { value: "x".into(), source }));
        let required = secret_variable("RELEASE_COOKIE", false);
        assert_eq!(names(&container(&required)), ["secrets a"]);
        let optional = secret_variable("RELEASE_COOKIE", true);
        assert_eq!(names(&container(&optional)), ["secrets a", "secrets cookie-file"]);
        let reference = json!({"name": "RELEASE_COOKIE", "value": "$(OTHER)"});
        assert_eq!(names(&container(&reference)), ["secrets cookie-file"]);
    }

    #[test]
    fn another_variable_is_one_of_all_sources() {
        let container = json!({"name": "app", "env": [secret_variable("MY_COOKIE", false)],
        "envFrom": [
            {"configMapRef": {"name": "first"}, "prefix": "P_"},
            {"secretRef": {"name": "last"}},
        ],
        "volumeMounts": [
            {"name": "home", "mountPath": "/root"},
            {"name": "map", "mountPath": "/x/.erlang.cookie", "subPath": "key"},
            {"name": "other", "mountPath": "/etc/tls"},
        ]});
        let expected = [
            "secrets a",
            "secrets last",
            "configmaps first",
            "secrets cookie-file",
            "configmaps cookie-map",
        ];
        assert_eq!(names(&container), expected);
        let sources = sources(&container);
        let Some(Variable::Key(key)) = &sources.variable else { unreachable!() };
        assert_eq!(key.describe(), "Secret a, key c (MY_COOKIE of container app)");
        assert_eq!(
            sources.imports[1].describe("COOKIE", "P_COOKIE"),
            "ConfigMap first, key COOKIE (P_COOKIE of container app)"
        );
        let files: Vec<_> = sources.files.iter().map(ObjectKey::describe).collect();
        assert_eq!(
            files,
            [
                "Secret cookie-file, key .erlang.cookie (a file of container app)",
                "ConfigMap cookie-map, key key (a file of container app)",
            ]
        );
    }

    #[test]
    fn the_last_variable_of_a_name_and_the_best_name_win() {
        let value = |name: &str, value: &str| json!({"name": name, "value": value});
        let container = json!({"name": "app", "env": [
            value("MY_COOKIE", "1"), value("ERLANG_COOKIE", "2"), value("ERLANG_COOKIE", "3"),
        ]});
        let source = "ERLANG_COOKIE of container app".to_owned();
        let expected = Variable::Value { value: "3".into(), source };
        assert_eq!(sources(&container).variable, Some(expected));
    }
}
