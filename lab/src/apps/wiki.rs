//! HTTP applications: pages, downloads that can be checked, uploads that are counted.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Interval, MissedTickBehavior};

/// Returns the wiki, as `client` sees it.
pub(super) fn wiki(client: SocketAddr) -> Router {
    Router::new()
        .route("/", get(async || page("Wiki", WIKI_TEXT)))
        .route(
            "/handbook",
            get(async || {
                page(
                    "Handbook",
                    "<p>Be kind. Lock your screen. Ask before you deploy on a Friday.</p>",
                )
            }),
        )
        .merge(tools(client))
}

/// Returns the payroll application, as `client` sees it.
pub(super) fn payroll(client: SocketAddr) -> Router {
    Router::new()
        .route(
            "/",
            get(async || {
                page(
                    "Payroll",
                    "<p>If you can read this, the policy let you.</p>",
                )
            }),
        )
        .merge(tools(client))
}

/// Returns a development server, as `client` sees it.
pub(super) fn dev(client: SocketAddr) -> Router {
    Router::new()
        .route(
            "/",
            get(async |headers: HeaderMap| {
                let host = crate::idp::escape(host(&headers));
                page("Development", &format!("<p>This is {host}.</p>"))
            }),
        )
        .merge(tools(client))
}

fn tools(client: SocketAddr) -> Router {
    Router::new()
        .route("/whoami", get(who_am_i))
        .route("/download", get(download))
        .route("/upload", axum::routing::post(upload).put(upload))
        .with_state(client)
}

async fn who_am_i(State(client): State<SocketAddr>, headers: HeaderMap) -> Json<Value> {
    Json(json!({
        "client": client,
        "address": client.ip(),
        "host": host(&headers),
        "headers": headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
    }))
}

/// How much to send, and how fast.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Bytes in all, without end unless told.
    bytes: Option<u64>,
    /// Bytes a second, as fast as it goes unless told.
    rate: Option<u64>,
}

/// `GET /download?bytes=N&rate=R`: byte `i` has the value `i % 251`.
async fn download(Query(wanted): Query<Wanted>) -> Response {
    if wanted.rate.is_some_and(|rate| rate < MIN_RATE) {
        let problem = format!("rate must be {MIN_RATE} bytes a second or more\n");
        return (StatusCode::BAD_REQUEST, problem).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    (kind, Body::new(Download::new(&wanted))).into_response()
}

/// `POST` or `PUT /upload`: tells how much came, and its SHA-256.
async fn upload(mut body: Body) -> Response {
    let mut bytes = 0_u64;
    let mut hash = Sha256::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        if let Some(data) = frame.data_ref() {
            bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
            hash.update(data);
        }
    }
    let sha256 = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    Json(json!({"bytes": bytes, "sha256": sha256})).into_response()
}

/// A body that is made while it is sent.
#[derive(Debug)]
struct Download {
    offset: u64,
    end: Option<u64>,
    chunk: usize,
    pace: Option<Interval>,
}

impl Download {
    fn new(wanted: &Wanted) -> Self {
        let full = |rate: u64| usize::try_from(rate / TICKS_PER_SECOND).unwrap_or(usize::MAX);
        Self {
            offset: 0,
            end: wanted.bytes,
            chunk: wanted.rate.map_or(MAX_CHUNK, full).min(MAX_RATE_CHUNK),
            pace: wanted.rate.map(|_| {
                let mut pace =
                    tokio::time::interval(Duration::from_millis(1000 / TICKS_PER_SECOND));
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                pace
            }),
        }
    }

    fn left(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.offset))
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let length = match self.left() {
            Some(0) => return Poll::Ready(None),
            Some(left) => usize::try_from(left).unwrap_or(usize::MAX).min(self.chunk),
            None => self.chunk,
        };
        if let Some(pace) = &mut self.pace {
            ready!(pace.poll_tick(context));
        }

        let first = usize::try_from(self.offset % PERIOD).unwrap_or_default();
        let data: Vec<u8> = PATTERN
            .iter()
            .copied()
            .cycle()
            .skip(first)
            .take(length)
            .collect();
        self.offset += u64::try_from(length).unwrap_or(u64::MAX);
        Poll::Ready(Some(Ok(Frame::data(data.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left().map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

fn page(title: &str, text: &str) -> Html<String> {
    Html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n{text}\n</body>\n</html>\n"
    ))
}

fn host(headers: &HeaderMap) -> &str {
    headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

const WIKI_TEXT: &str = "<p>Welcome to the wiki of Corp. It has no address on any network that you are on.</p>\n<ul>\n<li><a href=\"/handbook\">Handbook</a></li>\n<li><a href=\"/whoami\">Who am I?</a></li>\n<li><a href=\"/download?bytes=1000000\">A megabyte</a></li>\n</ul>";

/// A prime, so that a lost or doubled buffer shows.
const PERIOD: u64 = 251;

const PATTERN: [u8; 251] = {
    let mut pattern = [0; 251];
    let mut byte = 0_u8;
    while byte < 251 {
        pattern[byte as usize] = byte;
        byte += 1;
    }
    pattern
};

/// A few segments; more would only wait in the connection's buffer.
const MAX_CHUNK: usize = 32 * 1024;

/// Bounds one frame of a paced download.
const MAX_RATE_CHUNK: usize = 1024 * 1024;

const TICKS_PER_SECOND: u64 = 50;

/// One byte at each tick.
const MIN_RATE: u64 = TICKS_PER_SECOND;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::apps::App;

    #[tokio::test]
    async fn a_download_has_the_length_and_the_bytes_that_it_says() {
        let answer = ask("GET /download?bytes=100000 HTTP/1.1", "").await;

        let (head, body) = split(&answer);
        assert!(head.contains("content-length: 100000\r\n"), "{head}");
        assert_eq!(body.len(), 100_000);
        assert!(
            (0_usize..)
                .zip(body)
                .all(|(i, byte)| usize::from(*byte) == i % 251)
        );
    }

    #[tokio::test]
    async fn a_download_without_an_end_goes_on() {
        let mut stream = connect("GET /download HTTP/1.1", "").await;
        let mut much = vec![0; 5_000_000];

        stream.read_exact(&mut much).await.unwrap();

        assert!(much.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_paced_download_takes_its_time() {
        let before = tokio::time::Instant::now();

        let answer = ask("GET /download?bytes=100000&rate=50000 HTTP/1.1", "").await;

        let seconds = before.elapsed().as_secs_f64();
        assert_eq!(split(&answer).1.len(), 100_000);
        assert!((1.8..2.2).contains(&seconds), "{seconds}");
    }

    #[tokio::test]
    async fn an_upload_is_counted_and_hashed() {
        let answer = ask("POST /upload HTTP/1.1\r\ncontent-length: 3", "abc").await;

        let body: Value = serde_json::from_slice(split(&answer).1).unwrap();
        assert_eq!(body["bytes"], 3);
        assert_eq!(
            body["sha256"],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[tokio::test]
    async fn who_am_i_tells_the_inner_address() {
        let answer = ask("GET /whoami HTTP/1.1", "").await;

        let body: Value = serde_json::from_slice(split(&answer).1).unwrap();
        assert_eq!(body["address"], "100.64.0.9");
        assert_eq!(body["host"], "wiki.corp.test");
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        for line in [
            "GET /download?bytes=x HTTP/1.1",
            "GET /download?rate=1 HTTP/1.1",
            "GET /download?speed=1 HTTP/1.1",
        ] {
            assert!(ask(line, "").await.starts_with(b"HTTP/1.1 400"), "{line}");
        }
    }

    async fn ask(request: &str, body: &str) -> Vec<u8> {
        let mut answer = Vec::new();
        connect(request, body)
            .await
            .read_to_end(&mut answer)
            .await
            .unwrap();
        answer
    }

    async fn connect(request: &str, body: &str) -> DuplexStream {
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(App::Wiki.serve(far, "100.64.0.9:1234".parse().unwrap()));
        let text = format!("{request}\r\nhost: wiki.corp.test\r\nconnection: close\r\n\r\n{body}");
        near.write_all(text.as_bytes()).await.unwrap();
        near
    }

    fn split(answer: &[u8]) -> (&str, &[u8]) {
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        (
            std::str::from_utf8(&answer[..end + 2]).unwrap(),
            &answer[end + 4..],
        )
    }
}
