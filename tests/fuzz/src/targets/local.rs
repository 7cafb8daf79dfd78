//! What programs and front-ends on the same machine send.

use std::fmt::Debug;

use connector_ipc::{Hello, Reply, Request, frame};
use proxy::testing::{read_greeting, read_head, read_socks};
use proxy::{Host, Target};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Frames, one after the other, in both directions: what is read is written back to the same message.
pub(super) fn ipc(input: &[u8]) {
    let mut rest = input;
    while let Some((prefix, after)) = rest.split_first_chunk() {
        let Ok(length) = frame::body_length(*prefix) else {
            return;
        };
        let body = &after[..length.min(after.len())];
        let _ = frame::decode::<Hello>(body);
        is_read_as_written(frame::decode::<Request>(body).ok());
        is_read_as_written(frame::decode::<Reply>(body).ok());
        rest = &after[body.len()..];
    }
}

fn is_read_as_written<T>(read: Option<T>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let Some(read) = read else {
        return;
    };
    let Ok(written) = frame::encode(&read) else {
        return;
    };
    let (prefix, body) = written.split_at(PREFIX);
    assert_eq!(
        prefix,
        u32::try_from(body.len()).map_or([0; PREFIX], u32::to_be_bytes)
    );
    assert_eq!(frame::decode(body).ok(), Some(read));
}

/// Requests of HTTP and of SOCKS5, and the destinations in them.
pub(super) fn proxy(input: &[u8]) {
    if let Some((target, length, fields)) = read_head(input) {
        assert!(length <= input.len() && fields <= length);
        target.iter().for_each(has_one_spelling);
    }
    let greeting = read_greeting(input).unwrap_or(0);
    assert!(greeting <= input.len());
    if let Some((target, length)) = read_socks(&input[greeting..]) {
        assert!(greeting + length <= input.len());
        has_one_spelling(&target);
    }
}

/// A policy on names is not passed by another spelling of one.
fn has_one_spelling(target: &Target) {
    assert_ne!(target.port, 0);
    if let Host::Name(name) = &target.host {
        assert_eq!(Host::parse(name).as_ref(), Ok(&target.host), "{name:?}");
        assert!(name.parse::<std::net::IpAddr>().is_err(), "{name:?}");
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
}

/// The length that a frame begins with.
const PREFIX: usize = 4;
