//! Values that live as long as the VM, shared by key.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A map for a `static`. A full one is emptied before the next insert: kubeconfigs and environments
/// change, and keys with them, so old entries must not pile up.
pub(crate) struct SharedMap<K, V> {
    max: usize,
    entries: Mutex<Option<HashMap<K, V>>>,
}

impl<K: Eq + Hash, V: Clone> SharedMap<K, V> {
    pub const fn new(max: usize) -> Self {
        Self { max, entries: Mutex::new(None) }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        self.lock().as_ref()?.get(key).cloned()
    }

    pub fn insert(&self, key: K, value: V) {
        let mut entries = self.lock();
        self.with_room(entries.get_or_insert_default()).insert(key, value);
    }

    pub fn get_or_insert_with(&self, key: K, value: impl FnOnce() -> V) -> V {
        let mut entries = self.lock();
        let entries = entries.get_or_insert_default();
        if let Some(known) = entries.get(&key) {
            return known.clone();
        }
        self.with_room(entries).entry(key).or_insert_with(value).clone()
    }

    pub fn remove(&self, key: &K) {
        if let Some(entries) = self.lock().as_mut() {
            entries.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<K, V>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_room<'a>(&self, entries: &'a mut HashMap<K, V>) -> &'a mut HashMap<K, V> {
        if entries.len() >= self.max {
            entries.clear();
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_is_emptied() {
        let map = SharedMap::new(8);
        for key in 0..=8 {
            assert_eq!(map.get_or_insert_with(key, || key), key);
            assert_eq!(map.get_or_insert_with(key, || usize::MAX), key);
        }
        assert_eq!((map.get(&0), map.get(&8)), (None, Some(8)));
        map.insert(0, 7);
        map.remove(&8);
        assert_eq!((map.get(&0), map.get(&8)), (Some(7), None));
    }
}
