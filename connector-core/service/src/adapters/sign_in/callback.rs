//! The loopback redirect: waits for the one request that ends a sign-in, and answers it when that has ended.

mod page;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use url::Url;

pub(super) use self::page::Ending;
use self::page::Language;
use crate::adapters::keys;

/// Listens for the browser on a port of its own, from before the browser opens.
#[derive(Debug)]
pub(super) struct Callback {
    listener: TcpListener,
    redirect: Url,
}

/// What the provider sent along.
pub(super) type Parameters = BTreeMap<String, String>;

/// A person whose browser waits to show them how their sign-in ended.
#[derive(Debug)]
pub(super) struct Returned(oneshot::Sender<Ending>);

impl Returned {
    /// Shows them.
    pub(super) fn show(self, ending: Ending) {
        // The browser may have gone.
        let _ = self.0.send(ending);
    }
}

/// A request for our page.
struct Visit {
    stream: TcpStream,
    language: Language,
}

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
    pub(super) async fn wait(&self, state: &str) -> std::io::Result<(Parameters, Returned)> {
        let mut visits = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted?;
                    if visits.len() < MAX_VISITS {
                        visits.spawn(visit(stream, self.redirect.clone(), state.to_owned()));
                    }
                }
                Some(Ok(Some((parameters, visit)))) = visits.join_next() => {
                    let (returned, ending) = oneshot::channel();
                    tokio::spawn(visit.conclude(ending));
                    return Ok((parameters, Returned(returned)));
                }
            }
        }
    }
}

/// Hears one visitor; returns what the provider sent along, if that is who it was.
async fn visit(mut stream: TcpStream, redirect: Url, state: String) -> Option<(Parameters, Visit)> {
    let request = match tokio::time::timeout(REQUEST_LIMIT, read(&mut stream)).await {
        Ok(Ok(request)) => request,
        Ok(Err(_)) | Err(_) => String::new(),
    };
    let parameters = parse(&redirect, &request);
    let Some(parameters) = parameters.filter(|found| found.get("state") == Some(&state)) else {
        answer(&mut stream, "404 Not Found", "default-src 'none'", NOT_HERE).await;
        return None;
    };
    let language = Language::preferred(header(&request, "accept-language"));
    Some((parameters, Visit { stream, language }))
}

impl Visit {
    /// Answers when it is known how the sign-in ended, or after a while.
    async fn conclude(mut self, ending: oneshot::Receiver<Ending>) {
        let ending = match tokio::time::timeout(PAGE_LIMIT, ending).await {
            Ok(Ok(ending)) => ending,
            Ok(Err(_)) | Err(_) => Ending::Slow,
        };
        // Without chance there is no script, which the page can do without.
        let nonce = keys::unguessable().unwrap_or_default();
        let page = page::write(&ending, self.language, &nonce);
        let policy =
            format!("default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'");
        answer(&mut self.stream, "200 OK", &policy, &page).await;
    }
}

/// Takes `GET /callback?… HTTP/1.1` made out to `redirect`, and nothing else.
pub(crate) fn parse(redirect: &Url, request: &str) -> Option<Parameters> {
    let target = request
        .split("\r\n")
        .next()?
        .strip_prefix("GET ")?
        .strip_suffix(" HTTP/1.1")?;
    let host = header(request, "host")?;
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

/// Returns the value of a request's first header field of this name.
fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
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

async fn answer(stream: &mut TcpStream, status: &str, policy: &str, page: &str) {
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Content-Security-Policy: {policy}; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n\
         X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    // The browser may have gone; what it sent counts.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

const PATH: &str = "/callback";
const NOT_HERE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Nothing is here</title>\
    <h1>Nothing is here</h1><p>This page only ends a sign-in that the connector started.</p>";

/// How long a browser shows that it waits. Admitting a person takes two answers from servers.
const PAGE_LIMIT: Duration = Duration::from_secs(20);

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
        let show = async {
            let (found, returned) = callback.wait("s").await.unwrap();
            let name = "Alice".to_owned();
            returned.show(Ending::SignedIn { name });
            found
        };
        let (found, ()) = tokio::join!(show, visits);

        assert_eq!(found["code"], "c");
    }

    #[tokio::test]
    async fn the_browser_waits_for_the_outcome_and_shows_it_in_its_language() {
        let failed = || Ending::Failed {
            why: "the control plane refused".to_owned(),
        };

        let refused = page_for(|returned| returned.show(failed())).await;
        let forgotten = page_for(drop).await;

        assert!(refused.contains("Sie sind nicht angemeldet"), "{refused}");
        assert!(refused.contains("the control plane refused"), "{refused}");
        let (head, page) = refused.split_once("\r\n\r\n").unwrap();
        let (_, nonce) = page.split_once("nonce=\"").unwrap();
        let (nonce, _) = nonce.split_once('"').unwrap();
        assert!(
            nonce.len() > 20 && head.contains(&format!("'nonce-{nonce}'")),
            "{head}"
        );
        assert!(
            forgotten.contains("Ihre Anmeldung läuft noch"),
            "{forgotten}"
        );
    }

    async fn page_for(end: impl FnOnce(Returned)) -> String {
        let callback = Callback::listen().await.unwrap();
        let host = callback.listener.local_addr().unwrap();
        let request = format!(
            "GET /callback?state=s&code=c HTTP/1.1\r\nHost: {host}\r\nAccept-Language: de\r\n\r\n"
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let (_, returned) = callback.wait("s").await.unwrap();
        end(returned);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}
