//! The values of variables and options, as far as the spec has them, and the keys of Secrets and `ConfigMaps` that
//! have the rest.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use crate::pod::{
    container::{Budget, from_field},
    object::Object,
    settings::{self, Piece, rank},
};

/// Variables that refer to each other, at most.
const MAX_DEPTH: usize = 8;

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pod::cookie) enum Part {
    Text(String),
    Key {
        object: Object,
        key: String,
        /// Whether the container starts without it.
        optional: bool,
    },
    /// A variable that `envFrom` makes.
    Imported(String),
}

/// A variable or an option with a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pod::cookie) struct Setting {
    pub parts: Vec<Part>,
    /// The variable or the option, and its container.
    becomes: String,
    /// Whether the value has options of the VM, of which one may have the cookie.
    pub has_options: bool,
}

impl Setting {
    /// Where the cookie is from, for people.
    pub fn describe(&self) -> String {
        match self.parts.as_slice() {
            [Part::Key { object, key, .. }] => object.describe(key, &self.becomes),
            _ => self.becomes.clone(),
        }
    }

    pub fn has_imports(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Imported(_)))
    }

    pub fn objects(&self) -> Vec<Object> {
        let objects = self.parts.iter().filter_map(|part| match part {
            Part::Key { object, .. } => Some(object.clone()),
            _ => None,
        });
        objects.collect()
    }

    /// Whether a running container has it.
    pub fn is_certain(&self) -> bool {
        let exists = |part: &Part| !matches!(part, Part::Key { optional: true, .. });
        !self.has_options && self.parts.iter().all(exists)
    }
}

/// The variables with a cookie and their ranks, the best first.
pub(super) fn variables(pod: &Pod, container: &Container) -> Vec<(usize, Setting)> {
    let vars = container.env.as_deref().unwrap_or_default();
    let mut budget = Budget::default();
    let mut later = HashSet::new();
    let ranked = vars.iter().enumerate().rev().filter_map(|(at, var)| {
        let rank = rank(&var.name)?;
        // As the kubelet has it, the last variable of a name wins.
        if !later.insert(&var.name) {
            return None;
        }
        let parts = of_variable(pod, container, at, MAX_DEPTH, &mut budget)?;
        let becomes = format!("{} of container {}", var.name, container.name);
        Some((rank, Setting { parts, becomes, has_options: false }))
    });
    let mut ranked = ranked.collect::<Vec<_>>();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked
}

/// A word that may refer to variables.
pub(super) fn setting(
    pod: &Pod,
    container: &Container,
    word: &str,
    becomes: String,
) -> Option<Setting> {
    let pieces = settings::pieces(word, true);
    let is_command = |piece: &Piece| match piece {
        Piece::Text(text) => text.contains("$(") || text.contains('`'),
        Piece::Reference(_) => false,
    };
    // The shell runs a command for it: `$(cat FILE)`.
    if pieces.iter().any(is_command) {
        return None;
    }
    let vars = container.env.as_deref().unwrap_or_default();
    let parts = resolve(pod, container, vars.len(), &pieces, MAX_DEPTH, &mut Budget::default())?;
    Some(Setting { parts, becomes, has_options: false })
}

/// Variables for options of the VM whose whole value is in a Secret or a `ConfigMap`.
pub(super) fn option_variables(container: &Container) -> impl Iterator<Item = Setting> {
    let vars = container.env.iter().flatten().filter(|var| settings::is_option_variable(&var.name));
    vars.filter_map(|var| {
        let becomes = format!("-setcookie in {} of container {}", var.name, container.name);
        Some(Setting { parts: vec![key_of(var)?], becomes, has_options: true })
    })
}

/// `None` where the spec does not determine it.
fn of_variable(
    pod: &Pod,
    container: &Container,
    at: usize,
    depth: usize,
    budget: &mut Budget,
) -> Option<Vec<Part>> {
    let var = container.env.as_ref()?.get(at)?;
    match &var.value {
        Some(value) => {
            resolve(pod, container, at, &settings::pieces(value, false), depth - 1, budget)
        }
        None => match from_field(pod, var) {
            Some(text) => Some(vec![Part::Text(text)]),
            None => Some(vec![key_of(var)?]),
        },
    }
}

/// Replaces the references to variables before `end`.
fn resolve(
    pod: &Pod,
    container: &Container,
    end: usize,
    pieces: &[Piece],
    depth: usize,
    budget: &mut Budget,
) -> Option<Vec<Part>> {
    if depth == 0 {
        return None;
    }
    let mut parts: Vec<Part> = Vec::new();
    for piece in pieces {
        let more = match piece {
            Piece::Text(text) => vec![Part::Text(text.clone())],
            Piece::Reference(name) => {
                budget.reference()?;
                let vars = &container.env.as_deref().unwrap_or_default()[..end];
                match vars.iter().rposition(|var| var.name == *name) {
                    Some(at) => of_variable(pod, container, at, depth, budget)?,
                    None if container.env_from.iter().flatten().next().is_some() => {
                        vec![Part::Imported(name.clone())]
                    }
                    None => return None,
                }
            }
        };
        for part in more {
            match (parts.last_mut(), part) {
                (Some(Part::Text(before)), Part::Text(text)) => {
                    budget.text(&text)?;
                    before.push_str(&text);
                }
                (_, part) => parts.push(part),
            }
        }
    }
    (!parts.is_empty()).then_some(parts)
}

fn key_of(var: &EnvVar) -> Option<Part> {
    let from = var.value_from.as_ref()?;
    let (object, key, optional) = match (&from.secret_key_ref, &from.config_map_key_ref) {
        (Some(from), _) => (Object::secret(&from.name), &from.key, from.optional),
        (None, Some(from)) => (Object::config_map(&from.name), &from.key, from.optional),
        (None, None) => return None,
    };
    Some(Part::Key { object: object?, key: key.clone(), optional: optional.unwrap_or(false) })
}
