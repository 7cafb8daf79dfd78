use connector_platform::private::{PrivateDir, PrivateError};

/// The last good policies, on the disk: all of it is verified again when it is read.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PrivateDir,
}

impl Kept {
    pub(super) fn open(state: &PrivateDir) -> Result<Self, PrivateError> {
        let dir = PrivateDir::open(&state.path("policy"))?;
        Ok(Self { dir })
    }

    /// Returns the head and the objects: those that it needs, and others.
    pub(super) fn read(&self) -> Option<(String, Vec<u8>)> {
        let head = self.dir.read(HEAD).ok().flatten()?;
        // Without objects the head still keeps older ones out.
        let mut objects = self.objects(OBJECTS);
        objects.extend(self.objects(NEXT));
        Some((String::from_utf8(head).ok()?, objects))
    }

    /// Replaces the objects, where they are others, and the head: after a crash either the one
    /// before or this one is whole.
    pub(super) fn write(&self, objects: Option<&[u8]>, head: &str) -> Result<(), PrivateError> {
        if let Some(objects) = objects {
            self.dir.write(NEXT, objects)?;
        }
        self.dir.write(HEAD, head.as_bytes())?;
        match objects {
            Some(_) => self.dir.rename(NEXT, OBJECTS),
            None => Ok(()),
        }
    }

    fn objects(&self, name: &str) -> Vec<u8> {
        match self.dir.read_at_most(name, MAX_OBJECTS_FILE) {
            Ok(objects) => objects.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "The kept policies are fetched again");
                Vec::new()
            }
        }
    }
}

const HEAD: &str = "head.jws";
const OBJECTS: &str = "objects.pack";

/// What becomes [`OBJECTS`] once the head that needs it is there.
const NEXT: &str = "objects.next";

/// More than a store holds whose objects came in two transfers, in bytes.
const MAX_OBJECTS_FILE: u64 = 128 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use connector_policy::pack;

    use super::*;

    #[test]
    fn policies_of_any_size_come_back_and_a_new_head_needs_no_new_objects() {
        let (_root, kept) = kept();
        let objects = pack::write((0..5_u8).map(|fill| vec![fill; 4 * 1024 * 1024]));

        kept.write(Some(&objects), "one").unwrap();
        kept.write(None, "two").unwrap();

        assert!(kept.read() == Some(("two".to_owned(), objects)));
    }

    #[test]
    fn a_crash_at_any_step_leaves_one_head_with_all_that_it_needs() {
        let (old, new) = (pack::write([b"old"]), pack::write([b"new"]));
        for steps in 0..=3 {
            let (_root, kept) = kept();
            kept.write(Some(&old), "one").unwrap();

            // As `write` does them.
            if steps > 0 {
                kept.dir.write(NEXT, &new).unwrap();
            }
            if steps > 1 {
                kept.dir.write(HEAD, b"two").unwrap();
            }
            if steps > 2 {
                kept.dir.rename(NEXT, OBJECTS).unwrap();
            }
            let (head, objects) = kept.read().unwrap();
            let needed: &[u8] = if head == "one" { b"old" } else { b"new" };

            assert_eq!(head, if steps > 1 { "two" } else { "one" });
            assert!(
                pack::read(&objects).any(|object| object == Ok(needed)),
                "{steps}"
            );
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let (_root, kept) = kept();
        kept.write(Some(b"old"), "one").unwrap();
        // Nothing can be put in the place of a directory.
        std::fs::create_dir(kept.dir.path(NEXT)).unwrap();

        kept.write(Some(b"new"), "two").unwrap_err();

        assert_eq!(kept.read(), Some(("one".to_owned(), b"old".to_vec())));
    }

    fn kept() -> (tempfile::TempDir, Kept) {
        let root = tempfile::tempdir().unwrap();
        let state = PrivateDir::open(&root.path().join("state")).unwrap();
        let kept = Kept::open(&state).unwrap();
        (root, kept)
    }
}
