//! The certificates of a node whose distribution is over TLS, followed from the options of its VM through the volumes
//! that the pod's spec gives to its container.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use thiserror::Error as ThisError;

use super::{
    container,
    object::{Kind, Object, Objects},
    settings,
    volume::{self, keys_of},
};
use crate::{
    access::cluster::{self, Cluster},
    text::printable,
};

mod options;
mod term;

use options::{Options, Paths};

const OPTION_FILE: &str = "-ssl_dist_optfile";
/// The distribution modules of OTP with TLS.
const PROTOCOLS: [&str; 2] = ["inet_tls", "inet6_tls"];

/// Variables with options of the VM that `envFrom` may make.
const IMPORTED: [&str; 5] = [
    "ERL_AFLAGS",
    "ERL_FLAGS",
    "ERL_ZFLAGS",
    "ELIXIR_ERL_OPTIONS",
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
];

/// Files with options of the VM, which a script of the image passes on: of releases, and of `RabbitMQ`.
const ARGUMENT_FILES: [&str; 3] = ["vm.args", "vm.args.src", "rabbitmq-env.conf"];
/// Variables with the path of such a file.
const ARGUMENT_FILE_VARIABLES: [&str; 4] =
    ["RELEASE_VM_ARGS", "VMARGS_PATH", "RABBITMQ_CONF_ENV_FILE", "VMARGS"];
/// Of a path in messages.
const MAX_PATH: usize = 200;

/// Files in PEM.
pub struct TlsFiles {
    /// The authorities of the node's certificate.
    pub authority: Vec<u8>,
    /// A certificate, with its chain, and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Where they were found, for people.
    pub source: String,
}

/// Why there are no files.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The request to the API server failed.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The spec does not lead to them.
    #[error("{0}")]
    Missing(String),
}

/// Whether the spec says that the distribution is over TLS. It may be so all the same: a script of the image can have
/// the option.
#[must_use]
pub fn is_expected(pod: &Pod, container: &Container) -> bool {
    let arguments = container::arguments(pod, container);
    let protocol = settings::option_value(&arguments, &["-proto_dist"]);
    protocol.is_some_and(|(_, protocol)| PROTOCOLS.contains(&protocol))
}

/// Reads the files.
///
/// # Errors
/// [`Error`]. An object that the user may not read is the error if the files are nowhere else.
pub async fn find(cluster: &Cluster, pod: &Pod, container: &Container) -> Result<TlsFiles, Error> {
    let mut reader = Reader::new(cluster, pod, container);
    let found = reader.files().await;
    match (found, reader.objects.refusal) {
        (Err(Error::Missing(_)), Some(refusal)) => Err(refusal.into()),
        (found, _) => found,
    }
}

/// The objects that [`find`] reads: `secrets` or `configmaps`, and the name. None if neither the spec nor an object says
/// that the distribution is over TLS.
///
/// # Errors
/// [`cluster::Error`], but for an object that the user may not read.
pub async fn objects(
    cluster: &Cluster,
    pod: &Pod,
    container: &Container,
) -> Result<Vec<(&'static str, String)>, cluster::Error> {
    let mut reader = Reader::new(cluster, pod, container);
    match reader.files().await {
        Err(Error::Cluster(error)) => Err(error),
        _ if !reader.has_options && !is_expected(pod, container) => Ok(vec![]),
        Ok(_) | Err(Error::Missing(_)) => Ok(reader.objects.names()),
    }
}

struct Reader<'a> {
    objects: Objects<'a>,
    pod: &'a Pod,
    container: &'a Container,
    /// Whether there are options of TLS distribution.
    has_options: bool,
}

impl<'a> Reader<'a> {
    fn new(cluster: &'a Cluster, pod: &'a Pod, container: &'a Container) -> Self {
        Self { objects: Objects::new(cluster), pod, container, has_options: false }
    }

    async fn files(&mut self) -> Result<TlsFiles, Error> {
        let (paths, from) = self.paths().await?;
        let authority = paths.authority.ok_or_else(|| {
            Error::Missing(format!("{from} names no cacertfile to verify its certificate with"))
        })?;
        let (authority, object) = self.required(&authority).await?;
        let mut sources = vec![object.text()];
        let identity = match paths.identity {
            None => None,
            Some((certificate, key)) => {
                let (certificate, object) = self.required(&certificate).await?;
                sources.push(object.text());
                let (key, object) = self.required(&key).await?;
                sources.push(object.text());
                Some((certificate, key))
            }
        };
        sources.dedup();
        let source = format!("certificates from {} ({from})", sources.join(" and "));
        Ok(TlsFiles { authority, identity, source })
    }

    /// The paths of the files, and what names them.
    async fn paths(&mut self) -> Result<(Paths, String), Error> {
        let arguments = container::arguments(self.pod, self.container);
        if let Some(found) = self.paths_in(&arguments).await? {
            return Ok(found);
        }
        for (object, key) in argument_keys(self.pod, self.container) {
            let Some(text) = self.objects.key(&object, &key).await? else { continue };
            let words = self.words(&String::from_utf8_lossy(&text));
            if let Some(found) = self.paths_in(&words).await? {
                return Ok(found);
            }
        }
        Err(Error::Missing(format!(
            "the pod's spec leads to no {OPTION_FILE} and no -ssl_dist_opt"
        )))
    }

    async fn paths_in(&mut self, words: &[String]) -> Result<Option<(Paths, String)>, Error> {
        let mut options = Options::default();
        let given = options.add_words(words);
        let Some((_, path)) = settings::option_value(words, &[OPTION_FILE]) else {
            self.has_options |= given;
            return Ok(given.then(|| (options.paths(), "-ssl_dist_opt".into())));
        };
        self.has_options = true;
        let from = format!("{OPTION_FILE} {}", printable(path, MAX_PATH));
        let (text, object) = self.required(path).await?;
        options.add_file(&String::from_utf8_lossy(&text)).ok_or_else(|| {
            Error::Missing(format!("{} ({from}) is no plain Erlang term", object.text()))
        })?;
        Ok(Some((options.paths(), from)))
    }

    /// The words of a file of options, such as `SERVER_ADDITIONAL_ERL_ARGS="-proto_dist inet_tls"`.
    fn words(&self, text: &str) -> Vec<String> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(|line| line.split([' ', '\t', '"', '\'', '=', ';']));
        let words = words.filter(|word| !word.is_empty() && *word != "\\");
        container::expand_all(self.pod, self.container, words.map(Into::into))
    }

    /// The file of this path in the container.
    async fn required(&mut self, path: &str) -> Result<(Vec<u8>, Object), Error> {
        for (object, key) in keys_of(self.pod, self.container, path) {
            if let Some(contents) = self.objects.key(&object, &key).await? {
                return Ok((contents, object));
            }
        }
        let path = printable(path, MAX_PATH);
        Err(Error::Missing(format!(
            "the file {path} is in no Secret and no ConfigMap that container {} mounts",
            self.container.name
        )))
    }
}

/// The keys that may have options of the VM: variables from Secrets and `ConfigMaps`, and files of these names.
fn argument_keys(pod: &Pod, container: &Container) -> Vec<(Object, String)> {
    let variables = container.env.iter().flatten().filter_map(key_of_option_variable);
    let imported = container.env_from.iter().flatten().flat_map(|from| {
        let map = from.config_map_ref.as_ref().and_then(|map| Object::config_map(&map.name));
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let keys = IMPORTED.iter().filter_map(move |name| name.strip_prefix(prefix));
        keys.filter_map(move |key| Some((map.clone()?, key.to_owned())))
    });
    let named = ARGUMENT_FILE_VARIABLES
        .iter()
        .filter_map(|name| container::value_of(pod, container, name))
        .flat_map(|path| keys_of(pod, container, &path));
    variables.chain(imported).chain(named).chain(argument_files(pod, container)).collect()
}

fn key_of_option_variable(var: &EnvVar) -> Option<(Object, String)> {
    let from = var.value_from.as_ref().filter(|_| settings::is_option_variable(&var.name))?;
    if let Some(from) = &from.secret_key_ref {
        return Some((Object::secret(&from.name)?, from.key.clone()));
    }
    let from = from.config_map_key_ref.as_ref()?;
    Some((Object::config_map(&from.name)?, from.key.clone()))
}

/// Mounted files with the usual names. A Secret that does not list them is not read for that.
fn argument_files(pod: &Pod, container: &Container) -> Vec<(Object, String)> {
    let mut keys = Vec::new();
    for mount in volume::mounts(container) {
        let sources = volume::volume(pod, mount).map(volume::sources).unwrap_or_default();
        for source in sources {
            let file = mount.mount_path.rsplit('/').next().unwrap_or_default();
            let paths = match &mount.sub_path {
                Some(path) if ARGUMENT_FILES.contains(&file) => vec![path.as_str()],
                Some(_) => vec![],
                None if source.items.is_none() && source.object.kind == Kind::Secret => vec![],
                None => ARGUMENT_FILES.to_vec(),
            };
            let found = paths.into_iter().filter_map(|path| source.key_of(path));
            keys.extend(found.map(|key| (source.object.clone(), key)));
        }
    }
    keys
}

#[cfg(test)]
mod tests;
