//! A control plane that was taken over: heads and objects that no connector should follow.

use connector_core::time::WallTime;
use connector_policy::head::{Head, LedgerId, Sequence};
use connector_policy::oid::Oid;
use ed25519_dalek::SigningKey;
use serde::Deserialize;

use super::configuration::Published;
use super::policies::{LEDGER, NotCommitted, Policies, Written};

/// What is wrong with what connectors are offered next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misleading {
    /// The objects of the commit are others than their names say.
    Altered,
    /// Objects come as a pack that has no end to speak of.
    Endless,
    /// The head stopped being good long ago.
    Expired,
    /// The head is no signed document.
    Garbage,
    /// A file of the commit does not fit the schema.
    Invalid,
    /// Nobody has what the head leads to.
    Missing,
    /// The head's number is lower than one before.
    Older,
    /// Somebody else signed the head.
    Stranger,
}

impl Policies {
    /// Offers connectors something that is wrong, until the next commit.
    ///
    /// # Errors
    ///
    /// Fails only if the head cannot be written.
    pub fn mislead(&self, how: Misleading) -> Result<(), NotCommitted> {
        let mut written = self.written();
        written.sequence += 1;
        let (mut head, mut key) = (self.head(&written), self.key.clone());
        match how {
            Misleading::Altered => {
                head.commit = self.add_wrong(&mut written, OTHER, |bytes| {
                    for byte in bytes {
                        *byte = byte.wrapping_add(1);
                    }
                });
            }
            Misleading::Endless => {
                head.commit =
                    self.add_wrong(&mut written, OTHER, |bytes| bytes.resize(ENDLESS, b' '));
            }
            Misleading::Invalid => head.commit = self.add_wrong(&mut written, INVALID, |_| {}),
            Misleading::Expired => {
                head.issued_at = WallTime::from_unix_millis(0);
                head.expires_at = WallTime::from_unix_millis(1000);
            }
            Misleading::Garbage => {
                self.publish(Published::new(written.sequence, "e30.e30.AAAA".to_owned()));
                return Ok(());
            }
            Misleading::Missing => head.commit = unheard_of(),
            Misleading::Older => head.sequence = Sequence(1),
            Misleading::Stranger => key = SigningKey::from_bytes(&[7; 32]),
        }
        self.publish(Published::new(written.sequence, head.sign(&key)?));
        Ok(())
    }

    fn head(&self, written: &Written) -> Head {
        let now = WallTime::from_unix_millis(self.clock.unix_seconds() * 1000);
        Head {
            ledger: LedgerId::from(LEDGER),
            commit: written.commit.unwrap_or(Oid::ZERO),
            sequence: Sequence(written.sequence),
            issued_at: now,
            expires_at: now + self.lifetime,
            shadow: None,
            reset: true,
        }
    }

    /// Adds a commit of one file, with its objects spoilt under their names.
    fn add_wrong(&self, written: &mut Written, text: &str, spoil: impl Fn(&mut Vec<u8>)) -> Oid {
        let known: Vec<String> = written.objects.keys().cloned().collect();
        let files = [("wrong.cedar".to_owned(), text.to_owned())];
        let commit = self.add(written, &files, "not to be followed");
        let objects = written.objects.iter_mut();
        let new = objects.filter(|(name, _)| !known.contains(name));
        new.for_each(|(_, bytes)| spoil(bytes));
        commit
    }
}

fn unheard_of() -> Oid {
    Oid::of(b"nobody has this")
}

const OTHER: &str = "@id(\"other\") permit (principal, action, resource);\n";

/// There is no such attribute.
const INVALID: &str =
    "@id(\"wrong\")\npermit (principal, action, resource)\nwhen { context.no_such_thing };\n";

/// More than any connector takes.
const ENDLESS: usize = 60_000_000;
