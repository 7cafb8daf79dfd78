//! Things that are remembered for a while, and never more than so many.

use std::collections::BTreeMap;

/// A map whose entries lapse, bounded in size. Times are Unix seconds.
#[derive(Debug)]
pub struct Expiring<T> {
    entries: BTreeMap<String, Entry<T>>,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<T> {
    expires_at: u64,
    value: T,
}

impl<T> Expiring<T> {
    /// Returns an empty map that holds up to `capacity` entries.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            capacity,
        }
    }

    /// Remembers `value` under `key` until `expires_at`, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`Full`] if every place is taken by an entry that has not lapsed at `now`.
    pub fn insert(&mut self, key: String, value: T, expires_at: u64, now: u64) -> Result<(), Full> {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            self.entries.retain(|_, entry| now < entry.expires_at);
            if self.entries.len() >= self.capacity {
                return Err(Full);
            }
        }
        self.entries.insert(key, Entry { expires_at, value });
        Ok(())
    }

    /// Returns the value under `key` if it has not lapsed.
    #[must_use]
    pub fn find(&self, key: &str, now: u64) -> Option<&T> {
        let entry = self.entries.get(key)?;
        (now < entry.expires_at).then_some(&entry.value)
    }

    /// Returns the value under `key` for a change, if it has not lapsed.
    pub fn find_mut(&mut self, key: &str, now: u64) -> Option<&mut T> {
        let entry = self.entries.get_mut(key)?;
        (now < entry.expires_at).then_some(&mut entry.value)
    }

    /// Forgets `key`, and returns its value if it has not lapsed.
    pub fn take(&mut self, key: &str, now: u64) -> Option<T> {
        let entry = self.entries.remove(key)?;
        (now < entry.expires_at).then_some(entry.value)
    }
}

/// Every place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much is going on at once; try again in a minute")]
pub struct Full;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_until_it_lapses() {
        let mut map = Expiring::new(2);
        map.insert("a".to_owned(), 1, 10, 0).unwrap();

        assert_eq!(map.find("a", 9), Some(&1));
        assert_eq!(map.find("a", 10), None);
        assert_eq!(map.take("a", 10), None);
    }

    #[test]
    fn a_full_map_makes_room_by_forgetting_only_what_has_lapsed() {
        let mut map = Expiring::new(2);
        map.insert("a".to_owned(), 1, 10, 0).unwrap();
        map.insert("b".to_owned(), 2, 20, 0).unwrap();

        assert_eq!(map.insert("c".to_owned(), 3, 30, 9), Err(Full));
        assert_eq!(map.insert("b".to_owned(), 4, 20, 9), Ok(()));
        assert_eq!(map.insert("c".to_owned(), 3, 30, 10), Ok(()));
        assert_eq!((map.find("a", 10), map.find("b", 10)), (None, Some(&4)));
    }
}
