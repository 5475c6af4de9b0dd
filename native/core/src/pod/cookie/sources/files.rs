//! Cookie files in volumes of Secrets and `ConfigMaps`.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::pod::{
    container,
    object::Object,
    settings::is_cookie,
    volume::{mount_of, mounts, sources, volume},
};

/// The file that the VM reads in its home.
const COOKIE_FILE: &str = ".erlang.cookie";

/// More init containers than any pod has.
const MAX_INIT_CONTAINERS: usize = 20;

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
    let files = mounts(container).filter_map(|mount| {
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
    let files = containers.take(MAX_INIT_CONTAINERS).flat_map(|container| {
        let becomes = format!("a file of init container {}", container.name);
        let sources =
            mounts(container).filter_map(|mount| Some(sources(volume(pod, mount)?))).flatten();
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
