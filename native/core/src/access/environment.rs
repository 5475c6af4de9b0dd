//! The environment of the caller. It is passed in: `System.put_env/2` does not reach a NIF.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Variables and their values.
#[derive(Clone, Default, Hash)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The value of a variable. An empty one counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The first of these variables that is set: its name and value.
    pub(crate) fn first<'a>(&self, names: [&'a str; 2]) -> Option<(&'a str, &str)> {
        names.into_iter().find_map(|name| Some((name, self.get(name)?)))
    }

    /// All variables.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A hash of all variables.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Without the values: there are secrets among them.
impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Environment of {} variables", self.0.len())
    }
}
