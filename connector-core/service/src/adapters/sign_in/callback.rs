//! The loopback redirect: waits for the one request that ends a sign-in.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

/// Listens for the browser on a port of its own, from before the browser opens.
#[derive(Debug)]
pub(super) struct Callback {
    listener: TcpListener,
    redirect: Url,
}

/// What the provider sent along.
pub(super) type Parameters = BTreeMap<String, String>;

impl Callback {
    pub(super) async fn listen() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let redirect = format!("http://{}{PATH}", listener.local_addr()?);
        let redirect = Url::parse(&redirect).map_err(std::io::Error::other)?;
        Ok(Self { listener, redirect })
    }

    pub(super) fn redirect(&self) -> &Url {
        &self.redirect
    }

    /// Waits for the redirect that carries `state`; anything else that
    /// connects is answered with an error, and waiting goes on. Nobody who
    /// connects and stays silent keeps others from being heard.
    pub(super) async fn wait(&self, state: &str) -> std::io::Result<Parameters> {
        let mut visits = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted?;
                    if visits.len() < MAX_VISITS {
                        visits.spawn(visit(stream, self.redirect.clone(), state.to_owned()));
                    }
                }
                Some(Ok(Some(parameters))) = visits.join_next() => return Ok(parameters),
            }
        }
    }
}

/// Hears one visitor; returns what the provider sent along, if that is who it was.
async fn visit(mut stream: TcpStream, redirect: Url, state: String) -> Option<Parameters> {
    let parameters = match tokio::time::timeout(REQUEST_LIMIT, read(&mut stream)).await {
        Ok(Ok(request)) => parse(&redirect, &request),
        Ok(Err(_)) | Err(_) => None,
    };
    let parameters = parameters.filter(|found| found.get("state") == Some(&state));
    let (status, page) = match &parameters {
        Some(found) if found.contains_key("code") => ("200 OK", SIGNED_IN),
        Some(_) => ("200 OK", REFUSED),
        None => ("404 Not Found", NOT_HERE),
    };
    answer(&mut stream, status, page).await;
    parameters
}

/// Takes `GET /callback?… HTTP/1.1` made out to `redirect`, and nothing else.
fn parse(redirect: &Url, request: &str) -> Option<Parameters> {
    let mut lines = request.split("\r\n");
    let target = lines
        .next()?
        .strip_prefix("GET ")?
        .strip_suffix(" HTTP/1.1")?;
    let host = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host")
            .then(|| value.trim().to_owned())
    })?;
    let own_host = redirect
        .as_str()
        .strip_prefix("http://")?
        .strip_suffix(PATH)?;
    if !target.starts_with('/') || host != own_host {
        return None;
    }
    let url = redirect.join(target).ok()?;
    if url.path() != PATH {
        return None;
    }
    let mut parameters = Parameters::new();
    for (name, value) in url.query_pairs() {
        // A parameter that appears twice means that two parties wrote the request (RFC 6749 §3.1).
        let before = parameters.insert(name.into_owned(), value.into_owned());
        if before.is_some() {
            return None;
        }
    }
    Some(parameters)
}

/// Reads to the end of the header section.
async fn read(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut request = Vec::with_capacity(2048);
    while !request.ends_with(b"\r\n\r\n") {
        if request.len() >= MAX_REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
    String::from_utf8(request).map_err(std::io::Error::other)
}

async fn answer(stream: &mut TcpStream, status: &str, body: &str) {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>ZTNA Connector</title><body style=\"font-family:system-ui;max-width:34rem;margin:15vh auto;padding:0 1rem\">{body}"
    );
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\nReferrer-Policy: no-referrer\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    // The browser may have gone; what it sent counts.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

const PATH: &str = "/callback";
const SIGNED_IN: &str =
    "<h1>You are back</h1><p>The connector is finishing your sign-in. You can close this tab.</p>";
const REFUSED: &str = "<h1>You are not signed in</h1><p>The identity provider said no. Run <code>ztna login</code> to try again; it shows the reason.</p>";
const NOT_HERE: &str =
    "<h1>Nothing is here</h1><p>This page only ends a sign-in that the connector started.</p>";

/// The browser sends its request at once.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

const MAX_REQUEST: usize = 16 * 1024;

/// More than a browser opens ahead of its request, and than a neighbour can hold for long.
const MAX_VISITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_redirect_with_the_right_state_ends_the_wait() {
        let callback = Callback::listen().await.unwrap();
        let address = callback.listener.local_addr().unwrap();
        let host = address.to_string();
        let hostile = [
            format!("GET /callback?state=wrong&code=c HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("GET /other?state=s&code=c HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("POST /callback?state=s&code=c HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("GET /callback?state=s&state=s&code=c HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            "GET /callback?state=s&code=c HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
            format!(
                "GET http://evil.example/callback?state=s&code=c HTTP/1.1\r\nHost: {host}\r\n\r\n"
            ),
            "\u{0}\u{1}\r\n\r\n".to_owned(),
            "x".repeat(MAX_REQUEST + 1),
        ];
        let right = format!("GET /callback?state=s&code=c&iss=i HTTP/1.1\r\nHost: {host}\r\n\r\n");

        // A neighbour that says nothing.
        let _silent = TcpStream::connect(address).await.unwrap();
        let visits = async {
            for request in hostile.into_iter().chain([right]) {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // The listener may close before it has read everything.
                let _ = stream.write_all(request.as_bytes()).await;
                let mut answer = String::new();
                let _ = stream.read_to_string(&mut answer).await;
            }
        };
        let (found, ()) = tokio::join!(callback.wait("s"), visits);

        assert_eq!(found.unwrap()["code"], "c");
    }
}
