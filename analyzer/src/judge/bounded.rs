//! A map that forgets its oldest entry when it is full, and says what changed.

use std::collections::BTreeMap;
use std::hash::Hash;

use foldhash::{HashMap, HashMapExt};

/// Entries in order of arrival, at most `most` of them.
#[derive(Debug)]
pub struct Bounded<K, V> {
    most: usize,
    next: u64,
    values: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    changed: Vec<K>,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    /// An empty map of at most `most` entries.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            next: 0,
            values: HashMap::new(),
            order: BTreeMap::new(),
            changed: Vec::new(),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// Every key and value, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter().map(|(key, (_, value))| (key, value))
    }

    /// Sets a value as the youngest; the oldest goes when there is no room.
    pub fn insert(&mut self, key: K, value: V) {
        self.place(key, self.next, value);
        self.changed.push(key);
        while self.values.len() > self.most {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            self.values.remove(&oldest);
            self.changed.push(oldest);
        }
    }

    /// Changes a value where it stands.
    pub fn update(&mut self, key: &K, change: impl FnOnce(&mut V)) {
        if let Some((_, value)) = self.values.get_mut(key) {
            change(value);
            self.changed.push(*key);
        }
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &K) {
        if let Some((order, _)) = self.values.remove(key) {
            self.order.remove(&order);
            self.changed.push(*key);
        }
    }

    /// Puts an entry back as a checkpoint had it.
    pub fn restore(&mut self, key: K, order: u64, value: V) {
        self.place(key, order, value);
    }

    /// Makes [`Self::changed`] give everything.
    pub fn all_changed(&mut self) {
        self.changed.extend(self.values.keys());
    }

    /// Keys that changed since the last call, each with its place and value, or None when gone.
    pub fn changed(&mut self) -> Vec<(K, Option<&(u64, V)>)> {
        let mut keys = std::mem::take(&mut self.changed);
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(*key));
        keys.into_iter()
            .map(|key| (key, self.values.get(&key)))
            .collect()
    }

    fn place(&mut self, key: K, order: u64, value: V) {
        if let Some((old, _)) = self.values.insert(key, (order, value)) {
            self.order.remove(&old);
        }
        self.order.insert(order, key);
        self.next = self.next.max(order.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn the_oldest_goes_and_the_change_is_told() {
        let mut map = Bounded::new(2);
        map.insert(1, 'a');
        map.insert(2, 'b');
        map.insert(1, 'c');
        assert_eq!(map.changed().len(), 2);
        map.insert(3, 'd');
        assert_eq!(
            (map.get(&1), map.get(&2), map.get(&3)),
            (Some(&'c'), None, Some(&'d'))
        );
        let told: Vec<_> = map
            .changed()
            .iter()
            .map(|(k, v)| (*k, v.is_some()))
            .collect();
        assert_eq!(told, [(3, true), (2, false)]);
        assert!(map.changed().is_empty());
    }
}
