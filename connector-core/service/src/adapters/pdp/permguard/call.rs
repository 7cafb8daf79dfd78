//! One unary gRPC call over HTTP/2.

use connector_core::authzen::MAX_ANSWER;
use connector_core::connector::PdpFailure;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use url::Url;

use super::super::Failure;
use crate::adapters::http::{Http, HttpError};

/// Sends `request` to `method` and returns the one message of the answer.
pub(super) async fn unary<Answer: Message + Default>(
    http: &Http,
    method: &Url,
    request: &impl Message,
) -> Result<Answer, Failure> {
    let sent = http
        .client()
        .post(method.clone())
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header("grpc-timeout", "800m")
        .body(frame(request))
        .send()
        .await
        .map_err(HttpError::new)?;
    let answer: http::Response<reqwest::Body> = sent.into();
    if answer.status() != StatusCode::OK {
        let status = answer.status().as_u16();
        return Err(Failure::status(status, format!("status {status}")));
    }
    let kind = answer.headers().get(CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Err(Failure::malformed(format!("content type {kind:?}")));
    }

    // A call that fails at once has its status where the fields are.
    if let Some(status) = grpc_status(answer.headers()) {
        ended(status, answer.headers())?;
    }
    let (message, trailers) = read(answer.into_body()).await?;
    let trailers = trailers.unwrap_or_default();
    match grpc_status(&trailers) {
        Some(status) => ended(status, &trailers)?,
        None => return Err(Failure::malformed("no grpc-status at the end")),
    }
    decode(&message)
}

/// Reads the one message of an answer.
pub(super) fn decode<Answer: Message + Default>(message: &[u8]) -> Result<Answer, Failure> {
    Answer::decode(unframe(message)?).map_err(Failure::malformed)
}

async fn read(mut body: reqwest::Body) -> Result<(Vec<u8>, Option<HeaderMap>), Failure> {
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map_err(HttpError::new)?.into_data() {
            Ok(data) if bytes.len() + data.len() > MAX_ANSWER => {
                return Err(HttpError::TooLong(MAX_ANSWER).into());
            }
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((bytes, trailers))
}

/// Writes the prefix: not compressed, and how long.
fn frame(message: &impl Message) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(message.encode_to_vec());
    bytes
}

/// Takes exactly one message that is not compressed.
fn unframe(bytes: &[u8]) -> Result<&[u8], Failure> {
    let (prefix, message) = bytes
        .split_first_chunk::<5>()
        .ok_or_else(|| Failure::malformed("no message"))?;
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Failure::malformed(
            "a compressed message, which nobody asked for",
        ));
    }
    if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(Failure::malformed(
            "a message of another length than it says",
        ));
    }
    Ok(message)
}

/// The call's own status, if the fields have one; what cannot be read is "unknown".
fn grpc_status(fields: &HeaderMap) -> Option<u8> {
    let status = fields.get("grpc-status")?;
    let number = status.to_str().ok().and_then(|text| text.parse().ok());
    Some(number.unwrap_or(UNKNOWN))
}

/// Translates a status other than OK; the words are the server's own.
fn ended(status: u8, fields: &HeaderMap) -> Result<(), Failure> {
    if status == 0 {
        return Ok(());
    }
    let detail = format!("gRPC status {status}, {:?}", fields.get("grpc-message"));
    let kind = match status {
        CANCELLED | DEADLINE_EXCEEDED => PdpFailure::Late,
        UNAVAILABLE => PdpFailure::Unreachable,
        // As HTTP says the same.
        3 | 9 | 11 => PdpFailure::Status(400),
        5 => PdpFailure::Status(404),
        6 | 10 => PdpFailure::Status(409),
        7 => PdpFailure::Status(403),
        8 => PdpFailure::Status(429),
        12 => PdpFailure::Status(501),
        16 => PdpFailure::Status(401),
        _ => PdpFailure::Status(500),
    };
    Err(Failure { kind, detail })
}

const CANCELLED: u8 = 1;
const UNKNOWN: u8 = 2;
const DEADLINE_EXCEEDED: u8 = 4;
const UNAVAILABLE: u8 = 14;

#[cfg(test)]
mod tests {
    use super::super::message::Reason;
    use super::*;

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let message = Reason {
            code: "403".into(),
            message: "Forbidden".into(),
        };

        let bytes = frame(&message);

        assert_eq!(bytes[..5], [0, 0, 0, 0, 16]);
        assert_eq!(Reason::decode(unframe(&bytes).unwrap()).unwrap(), message);
    }

    #[test]
    fn what_is_not_exactly_one_plain_message_is_refused() {
        for bytes in [
            &b""[..],
            b"\0\0\0\0",
            b"\x01\0\0\0\0",
            b"\0\0\0\0\x02x",
            b"\0\0\0\0\x01xy",
            b"\0\xff\xff\xff\xffx",
            b"\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(unframe(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn every_status_but_ok_is_a_failure_of_its_own_kind() {
        let none = HeaderMap::new();
        assert_eq!(ended(0, &none), Ok(()));

        for (status, kind) in [
            (1, PdpFailure::Late),
            (2, PdpFailure::Status(500)),
            (3, PdpFailure::Status(400)),
            (4, PdpFailure::Late),
            (7, PdpFailure::Status(403)),
            (12, PdpFailure::Status(501)),
            (14, PdpFailure::Unreachable),
            (16, PdpFailure::Status(401)),
            (99, PdpFailure::Status(500)),
        ] {
            assert_eq!(ended(status, &none).unwrap_err().kind, kind, "{status}");
        }
    }
}
