//! HTTP/1.1 on a client's connection: `CONNECT`, absolute-form and the PAC file.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::Door;
use super::exchange::{Exchange, Outcome};
use crate::answer::{Answer, Form};
use crate::client_socket::ClientSocket;
use crate::head::{BadHead, Framing, RequestHead, Scan, scan};
use crate::limits::Limits;
use crate::target::Target;
use crate::upstream::Upstream;
use crate::{hop, pac};

/// Serves a client, one request after the other.
pub(super) async fn serve<U: Upstream>(
    door: &Door<U>,
    who: &U::Client,
    mut client: ClientSocket,
    mut bytes: BytesMut,
    local: SocketAddr,
    opening: Instant,
) {
    let mut deadline = opening + door.limits.header_timeout;
    loop {
        let length = match read_head(&mut client, &mut bytes, deadline, &door.limits).await {
            Ok(length) => length,
            Err(Some(answer)) => return client.close_with(&answer.to_bytes(Form::default())).await,
            Err(None) => return,
        };
        let head = bytes.split_to(length);
        let (order, form) = read_order(&head, &door.limits, local);
        let order = match order {
            Ok(order) => order,
            Err(answer) => {
                tracing::debug!(?answer, "Refused an HTTP request");
                return client.close_with(&answer.to_bytes(form)).await;
            }
        };
        drop(head);

        let target = match &order {
            Order::Connect(target) | Order::Forward(Forward { target, .. }) => target,
            Order::Pac => {
                let script = pac_response(&door.upstream.pac_patterns(), local, form);
                return client.close_with(&script).await;
            }
        };
        let upstream = match door.connect(who, target).await {
            Ok(upstream) => upstream,
            Err(refusal) => {
                tracing::debug!(%target, %refusal, "Refused an HTTP request");
                return client
                    .close_with(&Answer::from(refusal).to_bytes(form))
                    .await;
            }
        };

        let Order::Forward(forward) = order else {
            if client.write_all(ESTABLISHED).await.is_ok() {
                door.tunnel(client, upstream, bytes).await;
            }
            return;
        };
        // Boxed: a tunnel should not carry the size of an exchange around.
        let exchange = Exchange::new(client, upstream, forward, form, bytes, &door.limits);
        match Box::pin(exchange.run()).await {
            Outcome::Persists(next_client, ahead) => (client, bytes) = (next_client, ahead),
            Outcome::Ended(client) => return client.close_with(b"").await,
            Outcome::Cut => return,
        }
        deadline = Instant::now() + door.limits.keep_alive_timeout;
        if bytes.is_empty() {
            match wait(&mut client, &mut bytes, deadline).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
        deadline = Instant::now() + door.limits.header_timeout;
    }
}

/// A request that goes on to its destination.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) target: Target,
    /// The header section as it goes on.
    pub(super) head: Vec<u8>,
    pub(super) framing: Framing,
    pub(super) persists: bool,
}

/// What a request asks of the proxy.
#[derive(Debug)]
enum Order {
    Connect(Target),
    Forward(Forward),
    Pac,
}

/// Reads until a header section is complete and returns its length; `None` where the
/// client went away without having asked for anything.
async fn read_head(
    client: &mut ClientSocket,
    bytes: &mut BytesMut,
    deadline: Instant,
    limits: &Limits,
) -> Result<usize, Option<Answer>> {
    let mut scanned = 0;
    loop {
        // Some clients send an empty line after the content of their last request.
        while scanned == 0 && bytes.starts_with(b"\r\n") {
            bytes.advance(2);
        }
        match scan(bytes, scanned).map_err(|bad| Some(bad.into()))? {
            Scan::Complete(length) if length <= limits.max_head_bytes => return Ok(length),
            Scan::Partial if bytes.len() < limits.max_head_bytes => {}
            Scan::Complete(_) | Scan::Partial => return Err(Some(BadHead::TooLarge.into())),
        }
        // A single CR may become an empty line yet.
        scanned = if bytes.len() < 2 { 0 } else { bytes.len() };

        match wait(client, bytes, deadline).await {
            Ok(0) => return Err(None),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                let reason = "The request did not arrive in time.";
                return Err(Some(Answer::bad_request(408, "slow_request", reason)));
            }
            Err(_) => return Err(None),
        }
    }
}

/// Reads more bytes, until a deadline.
async fn wait(
    client: &mut ClientSocket,
    bytes: &mut BytesMut,
    deadline: Instant,
) -> std::io::Result<usize> {
    bytes.reserve(4096);
    timeout_at(deadline, client.read_buf(bytes)).await?
}

/// Reads from a header section what the client wants, and how to answer it.
fn read_order(bytes: &[u8], limits: &Limits, local: SocketAddr) -> (Result<Order, Answer>, Form) {
    let head = match RequestHead::parse(bytes, limits) {
        Ok(head) => head,
        Err(bad) => return (Err(bad.into()), Form::default()),
    };
    let form = Form {
        html: head.accepts_html(),
        bodiless: head.method == "HEAD",
    };
    (classify(&head, local), form)
}

fn classify(head: &RequestHead<'_>, local: SocketAddr) -> Result<Order, Answer> {
    if head.method == "CONNECT" {
        if head.framing != Framing::Length(0) {
            let reason = "A CONNECT request has no content.";
            return Err(Answer::bad_request(400, "connect_with_content", reason));
        }
        return Target::parse(head.target)
            .map(Order::Connect)
            .map_err(|bad| Answer::bad_request(400, "bad_target", bad));
    }
    if head.target.starts_with('/') || head.target == "*" {
        return if is_pac_request(head, local) {
            Ok(Order::Pac)
        } else {
            Err(Answer::misdirected())
        };
    }
    if hop::is_loop(head) {
        return Err(Answer::looped());
    }
    if head.method == "TRACE" {
        let reason = "TRACE is not passed on: it would show what other programs may not see.";
        return Err(Answer::bad_request(405, "trace", reason));
    }
    if head
        .values("expect")
        .any(|value| !value.eq_ignore_ascii_case(b"100-continue"))
    {
        let reason = "Only the expectation 100-continue can be met.";
        return Err(Answer::bad_request(417, "expectation", reason));
    }

    let (target, path) = parse_absolute(head)?;
    Ok(Order::Forward(Forward {
        head: hop::forwarded(head, &target, &path),
        framing: head.framing,
        persists: head.is_persistent(),
        target,
    }))
}

/// Splits `http://host[:port]/path?query` (RFC 9112, 3.2.2).
fn parse_absolute(head: &RequestHead<'_>) -> Result<(Target, String), Answer> {
    let bad = |reason: &str| Answer::bad_request(400, "bad_target", reason);
    let scheme_ends = head
        .target
        .find("://")
        .ok_or_else(|| bad("The request target is not an http address."))?;
    let (scheme, rest) = head.target.split_at(scheme_ends);
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(bad(
            "Only http addresses are forwarded; for https use CONNECT.",
        ));
    }

    let rest = &rest["://".len()..];
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let target = Target::parse_with_default(authority, 80)
        .map_err(|bad| Answer::bad_request(400, "bad_target", bad))?;
    let path = match path {
        "" if head.method == "OPTIONS" => "*".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    if path.contains('#') || path.parse::<PathAndQuery>().is_err() {
        return Err(bad("The path has characters that must be percent-encoded."));
    }
    Ok((target, path))
}

/// Tells whether a request is for the PAC file and came by the listener's own address.
///
/// A page of a site that points its name at loopback asks with its own name, and a page
/// that embeds this address says that it is another site's.
fn is_pac_request(head: &RequestHead<'_>, local: SocketAddr) -> bool {
    let host_is_ours = head
        .values("host")
        .next()
        .is_some_and(|host| host == local.to_string().as_bytes());
    let from_a_page = head.values("origin").next().is_some()
        || head.values("sec-fetch-site").any(|site| site != b"none");

    (head.method == "GET" || head.method == "HEAD")
        && head.target == "/proxy.pac"
        && host_is_ours
        && !from_a_page
}

fn pac_response(patterns: &[String], local: SocketAddr, form: Form) -> Vec<u8> {
    let script = pac::script(patterns, local);
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
         Cache-Control: no-cache, no-store\r\nCross-Origin-Resource-Policy: same-origin\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        pac::MEDIA_TYPE,
        script.len()
    );
    if !form.bodiless {
        out.push_str(&script);
    }
    out.into_bytes()
}

impl From<BadHead> for Answer {
    fn from(bad: BadHead) -> Self {
        Self::bad_request(bad.status(), "bad_request", bad)
    }
}

/// The answer to a `CONNECT` that succeeded: everything after it is the destination's.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
