//! dconf's database format, GVDB: a hash table of paths to values.
//!
//! The file belongs to a user, so every offset in it is checked; whatever does
//! not hold together is refused as a whole.

/// A database of settings.
#[derive(Debug)]
pub(super) struct Database<'a> {
    file: &'a [u8],
    items: &'a [u8],
}

impl<'a> Database<'a> {
    /// Opens a database that was written on a little-endian machine.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, Malformed> {
        if file.get(..8) != Some(SIGNATURE) {
            return Err(Malformed("it does not begin with GVariant"));
        }
        if word(file, 8) != Some(0) {
            return Err(Malformed("its version is not 0"));
        }
        let table = pointed(file, 16).ok_or(Malformed("its root lies outside the file"))?;
        Self::at(file, table)
    }

    /// Returns the boolean at `path`, nothing if the database does not set it.
    pub(super) fn boolean(&self, path: &str) -> Result<Option<bool>, Malformed> {
        match self.value(path)? {
            None => Ok(None),
            Some([0, 0, b'b']) => Ok(Some(false)),
            Some([1, 0, b'b']) => Ok(Some(true)),
            Some(_) => Err(Malformed("a switch holds no boolean")),
        }
    }

    /// Returns the unsigned number at `path`, nothing if the database does not set it.
    pub(super) fn unsigned(&self, path: &str) -> Result<Option<u32>, Malformed> {
        match self.value(path)? {
            None => Ok(None),
            Some([a, b, c, d, 0, b'u']) => Ok(Some(u32::from_le_bytes([*a, *b, *c, *d]))),
            Some(_) => Err(Malformed("a duration holds no unsigned number")),
        }
    }

    /// Returns whether the administrator keeps users from setting `path`.
    pub(super) fn locks(&self, path: &str) -> Result<bool, Malformed> {
        let Some(item) = self.find(".locks")? else {
            return Ok(false);
        };
        if item.kind != b'H' {
            return Err(Malformed("its locks are no table"));
        }
        let table =
            pointed(self.file, item.value).ok_or(Malformed("its locks lie outside the file"))?;
        Ok(Self::at(self.file, table)?.find(path)?.is_some())
    }

    fn at(file: &'a [u8], table: &'a [u8]) -> Result<Self, Malformed> {
        let bloom_words = word(table, 0).ok_or(CUT_SHORT)? & 0x07ff_ffff;
        let buckets = word(table, 4).ok_or(CUT_SHORT)?;
        let start = u64::from(bloom_words) * 4 + u64::from(buckets) * 4 + 8;
        let items = usize::try_from(start)
            .ok()
            .and_then(|start| table.get(start..))
            .ok_or(CUT_SHORT)?;
        Ok(Self { file, items })
    }

    fn value(&self, path: &str) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(item) = self.find(path)? else {
            return Ok(None);
        };
        if item.kind != b'v' {
            return Err(Malformed("a setting holds no value"));
        }
        let value =
            pointed(self.file, item.value).ok_or(Malformed("a value lies outside the file"))?;
        Ok(Some(value))
    }

    fn find(&self, path: &str) -> Result<Option<Item>, Malformed> {
        let hash = hash(path.as_bytes());
        let count = self.items.len() / ITEM;
        for index in 0..count {
            let item = self.item(index).ok_or(CUT_SHORT)?;
            if item.hash == hash && self.is_named(&item, path)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// Returns whether the item's own name and its parents' spell `path`.
    fn is_named(&self, item: &Item, path: &str) -> Result<bool, Malformed> {
        let mut left = path.as_bytes();
        let mut item = item.clone();
        for _ in 0..MAX_DEPTH {
            let name = self
                .file
                .get(item.name.clone())
                .ok_or(Malformed("a name lies outside the file"))?;
            let Some(rest) = left.strip_suffix(name) else {
                return Ok(false);
            };
            left = rest;
            if item.parent == NO_PARENT {
                return Ok(left.is_empty());
            }
            item = usize::try_from(item.parent)
                .ok()
                .and_then(|parent| self.item(parent))
                .ok_or(Malformed("a parent lies outside the table"))?;
        }
        Err(Malformed("its names nest too deeply"))
    }

    fn item(&self, index: usize) -> Option<Item> {
        let start = index.checked_mul(ITEM)?;
        let bytes = self.items.get(start..start.checked_add(ITEM)?)?;
        let name = usize::try_from(word(bytes, 8)?).ok()?;
        let length = usize::from(u16::from_le_bytes([bytes[12], bytes[13]]));
        let offset = self
            .items
            .as_ptr()
            .addr()
            .checked_sub(self.file.as_ptr().addr())?;
        Some(Item {
            hash: word(bytes, 0)?,
            parent: word(bytes, 4)?,
            name: name..name.checked_add(length)?,
            kind: bytes[14],
            value: offset.checked_add(start)?.checked_add(16)?,
        })
    }
}

/// A file that is not a database, or a damaged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(&'static str);

/// One entry of a table.
#[derive(Debug, Clone)]
struct Item {
    hash: u32,
    parent: u32,
    /// Where in the file its name lies.
    name: std::ops::Range<usize>,
    /// `v` for a value, `H` for a table, `L` for a list.
    kind: u8,
    /// Where in the file the pointer to its content lies.
    value: usize,
}

/// Returns what the pointer at `at`, two offsets from the file's start, encloses.
fn pointed(file: &[u8], at: usize) -> Option<&[u8]> {
    let start = usize::try_from(word(file, at)?).ok()?;
    let end = usize::try_from(word(file, at.checked_add(4)?)?).ok()?;
    file.get(start..end)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let (word, _) = bytes.get(at..)?.split_first_chunk::<4>()?;
    Some(u32::from_le_bytes(*word))
}

/// Bernstein's hash over signed characters, as GVDB computes it.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(5381, |hash: u32, byte| {
        hash.wrapping_mul(33)
            .wrapping_add_signed(i32::from(byte.cast_signed()))
    })
}

const SIGNATURE: &[u8] = b"GVariant";
const ITEM: usize = 24;
const NO_PARENT: u32 = u32::MAX;
const CUT_SHORT: Malformed = Malformed("its table is cut short");

/// Deeper than settings' paths nest; ends a circle of parents.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn settings_are_found_by_their_path() {
        let file = Builder::default()
            .with("/org/a/on", &[1, 0, b'b'])
            .with("/org/a/off", &[0, 0, b'b'])
            .with("/org/b/delay", &[0x2c, 1, 0, 0, 0, b'u'])
            .build();
        let database = Database::open(&file).unwrap();

        assert_eq!(database.boolean("/org/a/on"), Ok(Some(true)));
        assert_eq!(database.boolean("/org/a/off"), Ok(Some(false)));
        assert_eq!(database.unsigned("/org/b/delay"), Ok(Some(300)));
        assert_eq!(database.unsigned("/org/b/other"), Ok(None));
        assert_eq!(database.locks("/org/a/on"), Ok(false));
        assert!(database.boolean("/org/b/delay").is_err());
    }

    #[test]
    fn locks_are_a_table_of_their_own() {
        let file = Builder::default()
            .with("/org/a/on", &[1, 0, b'b'])
            .locking("/org/a/on")
            .build();
        let database = Database::open(&file).unwrap();

        assert_eq!(database.locks("/org/a/on"), Ok(true));
        assert_eq!(database.locks("/org/a/off"), Ok(false));
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for file in [
            &b""[..],
            b"GVariant",
            b"raVGtnai\0\0\0\0",
            &[0; 64],
            b"GVariant\x01\0\0\0",
        ] {
            assert!(Database::open(file).is_err(), "{file:?}");
        }
    }

    #[test]
    fn no_damage_makes_the_reader_panic_or_run_on() {
        let whole = Builder::default()
            .with("/org/gnome/desktop/screensaver/lock-enabled", &[1, 0, b'b'])
            .with(
                "/org/gnome/desktop/session/idle-delay",
                &[44, 1, 0, 0, 0, b'u'],
            )
            .locking("/org/gnome/desktop/screensaver/lock-enabled")
            .build();
        let seed = seed();
        let mut random = Random::new(seed);

        for _ in 0..20_000 {
            let mut file = whole.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(file.len());
                file[at] = [0, 1, 0xff, random.byte()][random.below(4)];
            }
            file.truncate(file.len() - random.below(2) * random.below(file.len()));
            if let Ok(database) = Database::open(&file) {
                let path = "/org/gnome/desktop/screensaver/lock-enabled";
                let read = (
                    database.boolean(path),
                    database.unsigned(path),
                    database.locks(path),
                );
                assert!(
                    read.1.is_err() || read.1 == Ok(None),
                    "seed {seed}: a boolean was read as a number"
                );
            }
        }
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let mut file = Builder::default().with("a", &[1, 0, b'b']).build();
        let table = usize::try_from(word(&file, 16).unwrap()).unwrap();
        file[table + 8 + 4..table + 8 + 8].fill(0);
        let name = usize::try_from(word(&file, table + 8 + 8).unwrap()).unwrap();
        file[table + 8 + 12] = 0;

        let database = Database::open(&file).unwrap();

        assert!(name < file.len());
        assert!(database.is_named(&database.item(0).unwrap(), "a").is_err());
    }

    /// Returns a fresh seed, or the one to repeat a failure with, and prints it.
    pub(in crate::catalogue) fn seed() -> u64 {
        let fresh = || {
            let elapsed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            u64::from(elapsed.subsec_nanos()) << 20 ^ elapsed.as_secs()
        };
        let seed = std::env::var("POSTURE_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(fresh);
        #[expect(clippy::print_stdout, reason = "a failure is repeated with its seed")]
        {
            println!("POSTURE_SEED={seed}");
        }
        seed
    }

    /// Marsaglia's xorshift.
    pub(in crate::catalogue) struct Random(u64);

    impl Random {
        pub(in crate::catalogue) fn new(seed: u64) -> Self {
            Self(seed | 1)
        }

        pub(in crate::catalogue) fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let bound = u64::try_from(bound.max(1)).unwrap();
            usize::try_from(self.0 % bound).unwrap()
        }

        fn byte(&mut self) -> u8 {
            u8::try_from(self.below(256)).unwrap()
        }
    }

    /// Writes databases as dconf does: directories are parents of what they hold.
    #[derive(Default)]
    pub(in crate::catalogue) struct Builder {
        values: Vec<(String, Vec<u8>)>,
        locks: Vec<String>,
    }

    impl Builder {
        pub(in crate::catalogue) fn with(mut self, path: &str, value: &[u8]) -> Self {
            self.values.push((path.to_owned(), value.to_vec()));
            self
        }

        pub(in crate::catalogue) fn locking(mut self, path: &str) -> Self {
            self.locks.push(path.to_owned());
            self
        }

        pub(in crate::catalogue) fn build(&self) -> Vec<u8> {
            let mut file = [SIGNATURE, &[0; 16]].concat();
            let mut entries: Vec<_> = self
                .values
                .iter()
                .map(|(path, value)| (path.as_str(), b'v', append(&mut file, value)))
                .collect();
            if !self.locks.is_empty() {
                let nothing = append(&mut file, &[0, b'v']);
                let locks: Vec<_> = self
                    .locks
                    .iter()
                    .map(|path| (path.as_str(), b'v', nothing))
                    .collect();
                let table = table(&mut file, &locks);
                entries.push((".locks", b'H', table));
            }
            let root = table(&mut file, &entries);
            file[16..20].copy_from_slice(&root.0.to_le_bytes());
            file[20..24].copy_from_slice(&root.1.to_le_bytes());
            file
        }
    }

    fn append(file: &mut Vec<u8>, bytes: &[u8]) -> (u32, u32) {
        file.resize(file.len().next_multiple_of(8), 0);
        let start = u32::try_from(file.len()).unwrap();
        file.extend(bytes);
        (start, u32::try_from(file.len()).unwrap())
    }

    fn table(file: &mut Vec<u8>, entries: &[(&str, u8, (u32, u32))]) -> (u32, u32) {
        let mut names: Vec<String> = Vec::new();
        for (path, ..) in entries {
            let ends = path
                .match_indices('/')
                .map(|(at, _)| at + 1)
                .chain([path.len()]);
            for end in ends {
                if !names.contains(&path[..end].to_owned()) {
                    names.push(path[..end].to_owned());
                }
            }
        }

        let mut bytes = [[0; 4], [0; 4]].concat();
        for name in &names {
            let parent = name[..name.len() - 1]
                .rfind('/')
                .and_then(|at| names.iter().position(|other| *other == name[..=at]));
            let own = &name[parent.map_or(0, |parent| names[parent].len())..];
            let (key, _) = append(file, own.as_bytes());
            let entry = entries.iter().find(|(path, ..)| path == name);
            let (kind, value) = entry.map_or((b'L', (0, 0)), |(_, kind, value)| (*kind, *value));
            let parent = parent.map_or(NO_PARENT, |parent| u32::try_from(parent).unwrap());
            bytes.extend(hash(name.as_bytes()).to_le_bytes());
            bytes.extend(parent.to_le_bytes());
            bytes.extend(key.to_le_bytes());
            bytes.extend(u16::try_from(own.len()).unwrap().to_le_bytes());
            bytes.extend([kind, 0]);
            bytes.extend(value.0.to_le_bytes());
            bytes.extend(value.1.to_le_bytes());
        }
        append(file, &bytes)
    }
}
