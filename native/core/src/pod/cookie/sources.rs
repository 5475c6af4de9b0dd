//! Where the spec of a pod says that the cookie may be. One list, for attach to read and for the doctor to
//! show.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::pod::{
    object::{MAX_OBJECTS, Object},
    settings::{self, ANY, WELL_KNOWN},
};

mod files;
mod value;

pub(super) use files::File;
pub(super) use value::{Part, Setting};

/// Options before a cookie: of `erl`, and of `elixir` and `iex`.
const OPTIONS: [&str; 2] = ["-setcookie", "--cookie"];

/// `envFrom`: each key becomes a variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub object: Object,
    pub prefix: String,
}

/// A place where the cookie may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A variable, or an option of the VM.
    Setting(Setting),
    /// The variables of `envFrom`, up to this rank.
    Imports(usize),
    /// A file in a volume.
    File(File),
}

/// All sources of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// The first one that has a cookie counts.
    pub list: Vec<Source>,
    /// The first one that has a variable counts.
    pub imports: Vec<Import>,
    /// The name of the container.
    pub container: String,
}

impl Sources {
    pub fn of(pod: &Pod, container: &Container) -> Self {
        let imports = imports(container);
        let import = |rank| (!imports.is_empty()).then_some(Source::Imports(rank));
        let ranked = value::variables(pod, container);
        let known = ranked.iter().filter(|(rank, _)| *rank <= WELL_KNOWN);
        let others = ranked.iter().filter(|(rank, _)| *rank > WELL_KNOWN);
        let setting = |(_, setting): &(usize, Setting)| Source::Setting(setting.clone());
        let named = files::named(pod, container);
        let list = known
            .map(setting)
            .chain(options(pod, container).map(Source::Setting))
            .chain(named.into_iter().map(Source::File))
            .chain(import(WELL_KNOWN))
            .chain(files::mounted(pod, container).into_iter().map(Source::File))
            .chain(others.map(setting))
            .chain(import(ANY))
            .chain(files::of_init_containers(pod).into_iter().map(Source::File));
        let mut sources = Self { list: list.collect(), imports, container: container.name.clone() };
        // A running container has it, so no source after it counts, and none is read.
        if let Some(certain) = sources.list.iter().position(Source::is_certain) {
            sources.list.truncate(certain + 1);
        }
        sources
    }

    /// The objects that may be read, in this order.
    pub fn objects(&self) -> Vec<Object> {
        let mut objects: Vec<Object> = Vec::new();
        let imports = || {
            let imports = self.imports.iter().take(MAX_OBJECTS);
            imports.map(|import| import.object.clone()).collect()
        };
        for source in &self.list {
            let more: Vec<Object> = match source {
                Source::Setting(setting) if setting.has_imports() => imports(),
                Source::Setting(setting) => setting.objects(),
                Source::Imports(_) => imports(),
                Source::File(file) => vec![file.object.clone()],
            };
            for object in more {
                if objects.len() < MAX_OBJECTS && !objects.contains(&object) {
                    objects.push(object);
                }
            }
        }
        objects
    }
}

impl Source {
    /// Whether the running container has a cookie there.
    fn is_certain(&self) -> bool {
        match self {
            Self::Setting(setting) => setting.is_certain(),
            Self::File(file) => file.is_certain,
            Self::Imports(_) => false,
        }
    }
}

/// The cookie in the options of the VM: on the command line, or in variables for options.
fn options<'a>(pod: &'a Pod, container: &'a Container) -> impl Iterator<Item = Setting> + 'a {
    let texts = settings::option_texts(container).filter_map(move |text| {
        let (option, word) = settings::option_value(&text.words, &OPTIONS)?;
        let becomes = format!("{option} in {} of container {}", text.place, container.name);
        value::setting(pod, container, word, becomes)
    });
    // Options that are in a Secret as a whole.
    texts.chain(value::option_variables(container))
}

fn imports(container: &Container) -> Vec<Import> {
    // The last one that has a name wins.
    let imports = container.env_from.iter().flatten().rev().filter_map(|from| {
        let object = match (&from.secret_ref, &from.config_map_ref) {
            (Some(from), _) => Object::secret(&from.name),
            (None, Some(from)) => Object::config_map(&from.name),
            (None, None) => return None,
        };
        Some(Import { object: object?, prefix: from.prefix.clone().unwrap_or_default() })
    });
    imports.collect()
}

#[cfg(test)]
mod tests;
