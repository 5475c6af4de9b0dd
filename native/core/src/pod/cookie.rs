//! The Erlang cookie: from the environment, or a file of a volume, that the pod's spec gives to the
//! container of the node; or, on request, from the running node.

use std::fmt;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    access::cluster::{Cluster, Error},
    pod::{object::Objects, settings},
};

pub mod process;
mod sources;

use sources::{File, Import, Part, Setting, Source, Sources};

/// The cookie in the image of a product, by what the image's name contains.
const DEFAULTS: [(&str, &str); 3] =
    [("vernemq", "vmq"), ("emqx", "emqxsecretcookie"), ("riak", "riak")];

/// What the source of such a cookie ends in. The doctor warns about it: `Doctor.Handshake`.
const PUBLIC: &str = ", a default that everyone knows";

/// A cookie, and where it was found. Only [`Cookie::reveal`] shows its value.
#[derive(Clone)]
pub struct Cookie {
    value: Vec<u8>,
    source: String,
}

impl Cookie {
    /// `None` for a value that cannot be a cookie: an empty one, or one longer than an atom.
    fn new(value: Vec<u8>, mut source: String) -> Option<Self> {
        if DEFAULTS.iter().any(|(_, default)| default.as_bytes() == value) {
            source.push_str(PUBLIC);
        }
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

/// Reads the cookie from the sources in the spec; `None` where none of them has one. A product's image may have a
/// default.
///
/// # Errors
/// [`Error`], where a Secret or a `ConfigMap` in the spec may not be read, and no other source has a cookie.
pub async fn find(
    cluster: &Cluster,
    pod: &Pod,
    container: &Container,
) -> Result<Option<Cookie>, Error> {
    let sources = Sources::of(pod, container);
    let mut reader = Reader { objects: Objects::new(cluster), sources: &sources };
    for source in &sources.list {
        let cookie = match source {
            Source::Setting(setting) => reader.setting(setting).await?,
            Source::Imports(worst) => reader.imported(*worst).await?,
            Source::File(file) => reader.file(file).await?,
        };
        if cookie.is_some() {
            return Ok(cookie);
        }
    }
    match reader.objects.refusal {
        Some(error) => Err(error),
        None => Ok(image_default(container)),
    }
}

/// The objects that [`find`] may read: `secrets` or `configmaps`, and the name.
#[must_use]
pub fn objects(pod: &Pod, container: &Container) -> Vec<(&'static str, String)> {
    let objects = Sources::of(pod, container).objects();
    objects.into_iter().map(|object| (object.kind.resource(), object.name)).collect()
}

/// Reads the sources.
struct Reader<'a> {
    objects: Objects<'a>,
    sources: &'a Sources,
}

impl Reader<'_> {
    async fn setting(&mut self, setting: &Setting) -> Result<Option<Cookie>, Error> {
        let mut value = Vec::new();
        for part in &setting.parts {
            let part = match part {
                Part::Text(text) => Some(text.clone().into_bytes()),
                Part::Key { object, key, .. } => self.objects.key(object, key).await?,
                Part::Imported(name) => self.variable(name).await?,
            };
            match part {
                Some(part) => value.extend(part),
                None => return Ok(None),
            }
        }
        if setting.has_options {
            let text = String::from_utf8_lossy(&value).into_owned();
            let cookie = settings::option_in(&text, &["-setcookie"]);
            return Ok(cookie.and_then(|cookie| Cookie::new(cookie.into(), setting.describe())));
        }
        Ok(Cookie::new(value, setting.describe()))
    }

    /// The best cookie among the variables of `envFrom`, up to the rank `worst`. Of equal names the first counts.
    /// A well-known name ends the search.
    async fn imported(&mut self, worst: usize) -> Result<Option<Cookie>, Error> {
        let mut best: Option<(usize, Cookie)> = None;
        for Import { object, prefix } in &self.sources.imports {
            for (key, value) in self.objects.get(object).await?.into_iter().flatten() {
                let variable = format!("{prefix}{key}");
                let Some(rank) = settings::rank(&variable).filter(|rank| *rank <= worst) else {
                    continue;
                };
                let becomes = format!("{variable} of container {}", self.sources.container);
                if best.as_ref().is_none_or(|(other, _)| rank < *other)
                    && let Some(cookie) = Cookie::new(value, object.describe(&key, &becomes))
                {
                    best = Some((rank, cookie));
                }
            }
            if best.as_ref().is_some_and(|(rank, _)| *rank <= settings::WELL_KNOWN) {
                break;
            }
        }
        Ok(best.map(|(_, cookie)| cookie))
    }

    /// A variable of `envFrom`.
    async fn variable(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        for Import { object, prefix } in &self.sources.imports {
            let Some(key) = name.strip_prefix(prefix.as_str()) else { continue };
            if let Some(value) = self.objects.key(object, key).await? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    async fn file(&mut self, file: &File) -> Result<Option<Cookie>, Error> {
        for key in &file.keys {
            if let Some(value) = self.objects.key(&file.object, key).await? {
                return Ok(Cookie::new(first_line(value), file.describe(key)));
            }
        }
        Ok(None)
    }
}

/// The cookie that the image of a product has if nobody sets another one.
fn image_default(container: &Container) -> Option<Cookie> {
    let image = container.image.as_deref()?;
    // Without the registry and its port, and without the tag and the digest.
    let name = image.split('@').next()?.rsplit('/').next()?.split(':').next()?;
    let (_, cookie) = DEFAULTS.iter().find(|(product, _)| name.contains(product))?;
    Cookie::new((*cookie).into(), format!("the default of image {name}"))
}

/// The VM reads a cookie file up to the end of the line.
fn first_line(mut value: Vec<u8>) -> Vec<u8> {
    while value.last() == Some(&b'\n') {
        value.pop();
    }
    value
}

#[cfg(test)]
mod tests;
