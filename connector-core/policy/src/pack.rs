//! Objects one after the other, as they travel and as they lie on a disk.
//!
//! Each object is preceded by its length in four bytes, most significant
//! first. Names are not sent: whoever reads them finds them by hashing.

use crate::object::MAX_OBJECT;

/// Returns `objects` as one pack.
#[must_use]
pub fn write(objects: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut pack = Vec::new();
    for object in objects {
        let object = object.as_ref();
        let Ok(length) = u32::try_from(object.len()) else {
            continue;
        };
        pack.extend_from_slice(&length.to_be_bytes());
        pack.extend_from_slice(object);
    }
    pack
}

/// Returns the objects of `pack`; the last item is an error if it is torn.
pub fn read(pack: &[u8]) -> impl Iterator<Item = Result<&[u8], InvalidPack>> {
    let mut rest = pack;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = split(rest);
        rest = next.as_ref().map_or(&[][..], |(_, rest)| *rest);
        Some(next.map(|(object, _)| object))
    })
}

fn split(pack: &[u8]) -> Result<(&[u8], &[u8]), InvalidPack> {
    let (length, rest) = pack.split_first_chunk::<4>().ok_or(InvalidPack::Torn)?;
    let length = u32::from_be_bytes(*length);
    let wanted = usize::try_from(length).map_err(|_| InvalidPack::TooLarge(length))?;
    if wanted > MAX_OBJECT {
        return Err(InvalidPack::TooLarge(length));
    }
    rest.split_at_checked(wanted).ok_or(InvalidPack::Torn)
}

/// Why bytes are no pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPack {
    /// An object that is larger than objects may be.
    #[error("the pack has an object of {0} bytes; the limit is 5 MiB")]
    TooLarge(u32),
    /// The pack ends in the middle of an object.
    #[error("the pack ends in the middle of an object; fetch it again")]
    Torn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_gives_back_what_was_put_into_it() {
        let pack = write([&b"one"[..], b"", b"three"]);

        let objects: Result<Vec<_>, _> = read(&pack).collect();

        assert_eq!(objects, Ok(vec![&b"one"[..], b"", b"three"]));
    }

    #[test]
    fn a_torn_or_oversized_pack_ends_in_an_error() {
        let pack = write([&b"one"[..], b"two"]);

        for cut in 8..pack.len() {
            assert_eq!(read(&pack[..cut]).last(), Some(Err(InvalidPack::Torn)));
        }
        assert_eq!(
            read(&[255; 64]).collect::<Vec<_>>(),
            [Err(InvalidPack::TooLarge(u32::MAX))]
        );
    }
}
