//! Cookie files in volumes of Secrets and `ConfigMaps`.

use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, Volume, VolumeMount};

use super::Object;
use crate::pod::{container, settings::is_cookie};

/// The file that the VM reads in its home.
const COOKIE_FILE: &str = ".erlang.cookie";

/// A key of an object that is a file with the cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pod::cookie) struct File {
    pub object: Object,
    /// Of several the first one that the object has.
    pub keys: Vec<String>,
    becomes: String,
    /// Whether a running container has this file and reads the cookie from it.
    pub is_certain: bool,
}

impl File {
    /// Where the cookie is from, for people.
    pub fn describe(&self, key: &str) -> String {
        self.object.describe(key, &self.becomes)
    }
}

/// An object of a volume, and the keys that become files, if it names them.
struct VolumeSource<'a> {
    object: Object,
    items: Option<&'a [KeyToPath]>,
    optional: bool,
}

impl VolumeSource<'_> {
    /// The key that is the file of this path in the volume.
    fn key_of(&self, path: &str) -> Option<String> {
        match self.items {
            Some(items) => items.iter().find(|item| item.path == path).map(|item| item.key.clone()),
            // The files have the names of the keys, which have no folders.
            None => (!path.contains('/')).then(|| path.to_owned()),
        }
    }
}

/// The file that a variable such as `RABBITMQ_ERL_COOKIE_FILE` names.
pub(super) fn named(pod: &Pod, container: &Container) -> Vec<File> {
    let vars = container.env.iter().flatten();
    let names = vars.filter(|var| var.name.to_ascii_uppercase().ends_with("COOKIE_FILE"));
    let files = names.filter_map(|var| {
        let path = container::value_of(pod, container, &var.name)?;
        let (mount, inner) = mount_of(container, &path)?;
        let sources = sources(volume(pod, mount)?);
        // Of a projected volume only the object is certain that lists the file.
        let sure = sources.len() == 1;
        let becomes = format!("the file in {} of container {}", var.name, container.name);
        let files = sources.into_iter().filter_map(move |source| {
            let key = source.key_of(&inner)?;
            let is_certain = !source.optional && (sure || source.items.is_some());
            Some(File {
                keys: vec![key],
                object: source.object,
                becomes: becomes.clone(),
                is_certain,
            })
        });
        Some(files.collect::<Vec<_>>())
    });
    files.flatten().collect()
}

/// The mounts that make a `.erlang.cookie`. Only reading an object shows whether it has that key, so an object
/// that does not list it, and whose name does not contain `cookie`, is skipped.
pub(super) fn mounted(pod: &Pod, container: &Container) -> Vec<File> {
    let becomes = format!("a file of container {}", container.name);
    let files = container.volume_mounts.iter().flatten().filter_map(|mount| {
        let file = mount.mount_path.rsplit('/').next();
        let path = match &mount.sub_path {
            Some(path) if file == Some(COOKIE_FILE) => path.as_str(),
            Some(_) => return None,
            None => COOKIE_FILE,
        };
        let sources = sources(volume(pod, mount)?).into_iter().filter(|source| {
            mount.sub_path.is_some() || source.items.is_some() || is_named_cookie(&source.object)
        });
        let files = sources.filter_map(|source| {
            let keys = vec![source.key_of(path)?];
            Some(File { object: source.object, keys, becomes: becomes.clone(), is_certain: false })
        });
        Some(files.collect::<Vec<_>>())
    });
    files.flatten().collect()
}

/// Objects that only an init container mounts: it copies the cookie to where the node reads it.
pub(super) fn of_init_containers(pod: &Pod) -> Vec<File> {
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let files = containers.flat_map(|container| {
        let becomes = format!("a file of init container {}", container.name);
        let mounts = container.volume_mounts.iter().flatten();
        let sources = mounts.filter_map(|mount| Some(sources(volume(pod, mount)?))).flatten();
        sources.filter_map(move |source| {
            let keys = match source.items {
                Some(items) => {
                    let cookies = items.iter().filter(|item| is_cookie(&item.path));
                    cookies.map(|item| item.key.clone()).collect()
                }
                None if is_named_cookie(&source.object) => {
                    [COOKIE_FILE, "cookie", "erlang-cookie", "erlang.cookie"].map(Into::into).into()
                }
                None => vec![],
            };
            let file =
                File { object: source.object, keys, becomes: becomes.clone(), is_certain: false };
            (!file.keys.is_empty()).then_some(file)
        })
    });
    files.collect()
}

fn is_named_cookie(object: &Object) -> bool {
    object.name.contains("cookie")
}

fn volume<'a>(pod: &'a Pod, mount: &VolumeMount) -> Option<&'a Volume> {
    pod.spec.as_ref()?.volumes.iter().flatten().find(|volume| volume.name == mount.name)
}

/// The mount that has this path, and the path in its volume.
fn mount_of<'a>(container: &'a Container, path: &str) -> Option<(&'a VolumeMount, String)> {
    let inside = container.volume_mounts.iter().flatten().filter_map(|mount| {
        let rest = path.strip_prefix(mount.mount_path.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| (mount, rest.trim_start_matches('/')))
    });
    let (mount, rest) = inside.min_by_key(|(_, rest)| rest.len())?;
    let parts = [mount.sub_path.as_deref().unwrap_or_default(), rest];
    let inner: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Some((mount, inner.join("/")))
}

/// The Secrets and `ConfigMaps` of a volume. Of a projected one the last that has a file wins.
fn sources(volume: &Volume) -> Vec<VolumeSource<'_>> {
    fn source(
        object: Object,
        items: Option<&Vec<KeyToPath>>,
        optional: Option<bool>,
    ) -> VolumeSource<'_> {
        let items = items.map(Vec::as_slice);
        VolumeSource { object, items, optional: optional.unwrap_or(false) }
    }
    if let Some(from) = &volume.secret {
        let object = from.secret_name.as_deref().map(Object::secret);
        return object
            .map(|object| source(object, from.items.as_ref(), from.optional))
            .into_iter()
            .collect();
    }
    if let Some(from) = &volume.config_map {
        return vec![source(Object::config_map(&from.name), from.items.as_ref(), from.optional)];
    }
    let projected = volume.projected.iter().flat_map(|from| from.sources.iter().flatten()).rev();
    let projected = projected.filter_map(|from| match (&from.secret, &from.config_map) {
        (Some(from), _) => {
            Some(source(Object::secret(&from.name), from.items.as_ref(), from.optional))
        }
        (None, Some(from)) => {
            Some(source(Object::config_map(&from.name), from.items.as_ref(), from.optional))
        }
        (None, None) => None,
    });
    projected.collect()
}
