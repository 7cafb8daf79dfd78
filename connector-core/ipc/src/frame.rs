//! Frames: four bytes of length, big-endian, then that many bytes of JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes `message` as one frame.
///
/// # Errors
///
/// [`TooLong`] if it does not fit a frame.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
    let mut frame = vec![0; PREFIX];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - PREFIX;
    if length > MAX_BODY {
        return Err(TooLong(length).into());
    }
    let prefix = u32::try_from(length).map_err(|_| TooLong(length))?;
    frame[..PREFIX].copy_from_slice(&prefix.to_be_bytes());

    Ok(frame)
}

/// Reads the length of the body that follows `prefix`.
///
/// # Errors
///
/// [`TooLong`] if no honest peer sends such a body; nothing more is read then.
pub fn body_length(prefix: [u8; PREFIX]) -> Result<usize, TooLong> {
    let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if length > MAX_BODY {
        return Err(TooLong(length));
    }
    Ok(length)
}

/// Reads a message from a frame's body.
///
/// # Errors
///
/// What the JSON parser says; it stops at 128 levels of nesting.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body)
}

/// A frame longer than both sides accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is longer than the {MAX_BODY} that are accepted")]
pub struct TooLong(pub usize);

/// Why a message cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It cannot be written as JSON.
    #[error("the message cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It does not fit.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// The bytes of the length.
pub const PREFIX: usize = 4;

/// The longest body. A status with hundreds of resources stays well below.
pub const MAX_BODY: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hello, Request};

    #[test]
    fn a_message_survives_its_frame() {
        let hello = Hello {
            version: 1,
            client: "ztna 0.1.0".into(),
        };

        let frame = encode(&hello).unwrap();
        let (prefix, body) = frame.split_first_chunk().unwrap();

        assert_eq!(body_length(*prefix).unwrap(), body.len());
        assert_eq!(decode::<Hello>(body).unwrap(), hello);
    }

    #[test]
    fn an_oversized_frame_is_refused_on_both_sides() {
        assert!(encode(&"x".repeat(MAX_BODY)).is_err());
        assert_eq!(body_length([0xff; 4]), Err(TooLong(0xffff_ffff)));
        assert!(body_length([0, 4, 0, 1]).is_err());
        assert_eq!(body_length([0, 4, 0, 0]), Ok(MAX_BODY));
    }

    #[test]
    fn garbage_and_deep_nesting_are_errors() {
        for body in [b"".as_slice(), b"\xff\xfe", b"{", b"[[[[", &[b'['; 100_000]] {
            assert!(decode::<Request>(body).is_err());
        }
    }
}
