//! The volumes of Secrets and `ConfigMaps` in a pod, and the files in them.

use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, Volume, VolumeMount};

use super::object::Object;

/// An object of a volume, and the keys that become files, if it names them.
pub(super) struct VolumeSource<'a> {
    pub object: Object,
    pub items: Option<&'a [KeyToPath]>,
    pub optional: bool,
}

impl VolumeSource<'_> {
    /// The key that is the file of this path in the volume.
    pub fn key_of(&self, path: &str) -> Option<String> {
        match self.items {
            Some(items) => items.iter().find(|item| item.path == path).map(|item| item.key.clone()),
            // The files have the names of the keys, which have no folders.
            None => (!path.is_empty() && !path.contains('/')).then(|| path.to_owned()),
        }
    }
}

/// More mounts than any container has. A spec can have thousands of mounts, and as many volumes.
const MAX_MOUNTS: usize = 500;

/// The mounts of a container.
pub(super) fn mounts(container: &Container) -> impl Iterator<Item = &VolumeMount> {
    container.volume_mounts.iter().flatten().take(MAX_MOUNTS)
}

/// The volume of a mount.
pub(super) fn volume<'a>(pod: &'a Pod, mount: &VolumeMount) -> Option<&'a Volume> {
    pod.spec.as_ref()?.volumes.iter().flatten().find(|volume| volume.name == mount.name)
}

/// The mount that has this path, and the path in its volume.
pub(super) fn mount_of<'a>(
    container: &'a Container,
    path: &str,
) -> Option<(&'a VolumeMount, String)> {
    let inside = mounts(container).filter_map(|mount| {
        let rest = path.strip_prefix(mount.mount_path.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| (mount, rest.trim_start_matches('/')))
    });
    let (mount, rest) = inside.min_by_key(|(_, rest)| rest.len())?;
    let parts = [mount.sub_path.as_deref().unwrap_or_default(), rest];
    let inner: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Some((mount, inner.join("/")))
}

/// The objects and keys that may be the file of this path in the container. The first one that has the key wins.
pub(super) fn keys_of(pod: &Pod, container: &Container, path: &str) -> Vec<(Object, String)> {
    let found = mount_of(container, path)
        .and_then(|(mount, inner)| Some((sources(volume(pod, mount)?), inner)));
    let (sources, inner) = found.unwrap_or_default();
    let keys = sources.into_iter().filter_map(|source| {
        let key = source.key_of(&inner)?;
        Some((source.object, key))
    });
    keys.collect()
}

/// The Secrets and `ConfigMaps` of a volume. Of a projected one the last that has a file wins.
pub(super) fn sources(volume: &Volume) -> Vec<VolumeSource<'_>> {
    fn source(
        object: Option<Object>,
        items: Option<&Vec<KeyToPath>>,
        optional: Option<bool>,
    ) -> Option<VolumeSource<'_>> {
        let items = items.map(Vec::as_slice);
        Some(VolumeSource { object: object?, items, optional: optional.unwrap_or(false) })
    }
    if let Some(from) = &volume.secret {
        let object = from.secret_name.as_deref().and_then(Object::secret);
        return source(object, from.items.as_ref(), from.optional).into_iter().collect();
    }
    if let Some(from) = &volume.config_map {
        let object = Object::config_map(&from.name);
        return source(object, from.items.as_ref(), from.optional).into_iter().collect();
    }
    let projected = volume.projected.iter().flat_map(|from| from.sources.iter().flatten()).rev();
    let projected = projected.filter_map(|from| match (&from.secret, &from.config_map) {
        (Some(from), _) => source(Object::secret(&from.name), from.items.as_ref(), from.optional),
        (None, Some(from)) => {
            source(Object::config_map(&from.name), from.items.as_ref(), from.optional)
        }
        (None, None) => None,
    });
    projected.collect()
}
