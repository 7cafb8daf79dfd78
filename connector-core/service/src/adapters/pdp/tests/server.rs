//! A server that answers with the bytes it is told, piece by piece.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use crate::adapters::Task;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn is_post(&self) -> bool {
        self.head.starts_with("POST ")
    }

    pub(super) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Part of an answer.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// The connection is closed.
    Close,
    /// The same again and again, with a pause between, until nobody reads any more.
    Endlessly(Vec<u8>, Duration),
    /// Nothing more comes.
    Silence,
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) base: Url,
    requests: Arc<Mutex<Vec<Received>>>,
    written: Arc<AtomicUsize>,
    _task: Task,
}

impl Server {
    /// Serves what `answer` says.
    pub(super) async fn start(
        answer: impl Fn(&Received) -> Vec<Piece> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::new(AtomicUsize::new(0));
        let shared = (
            Arc::new(answer),
            Arc::clone(&requests),
            Arc::clone(&written),
        );
        let task = Task::spawn(async move {
            let mut connections = JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (answer, requests, written) = shared.clone();
                connections.spawn(async move {
                    serve(stream, connection, &*answer, &requests, &written).await
                });
            }
        });
        Self {
            base: base.parse().unwrap(),
            requests,
            written,
            _task: task,
        }
    }

    /// A decision point without metadata that answers every question like this.
    pub(super) async fn answering(pieces: Vec<Piece>) -> Self {
        Self::start(move |request| {
            if request.is_post() {
                pieces.clone()
            } else {
                not_found()
            }
        })
        .await
    }

    /// The questions that came.
    pub(super) fn questions(&self) -> Vec<Received> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|it| it.is_post()).cloned().collect()
    }

    /// The connections that questions came through.
    pub(super) fn connections(&self) -> usize {
        let questions = self.questions();
        let connections: BTreeSet<_> = questions.iter().map(|it| it.connection).collect();
        connections.len()
    }

    /// How many bytes somebody took.
    pub(super) fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    answer: &(impl Fn(&Received) -> Vec<Piece> + Send + Sync),
    requests: &Mutex<Vec<Received>>,
    written: &AtomicUsize,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    loop {
        let request = read(&mut stream, connection).await?;
        let pieces = answer(&request);
        requests.lock().unwrap().push(request);
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => {
                    stream.write_all(&bytes).await.ok()?;
                    written.fetch_add(bytes.len(), Ordering::Relaxed);
                }
                Piece::Close => return None,
                Piece::Endlessly(bytes, pause) => loop {
                    stream.write_all(&bytes).await.ok()?;
                    written.fetch_add(bytes.len(), Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                },
                Piece::Silence => std::future::pending().await,
            }
        }
    }
}

/// Reads a request; whatever is no HTTP, such as a TLS greeting, counts as one too.
async fn read(stream: &mut TcpStream, connection: usize) -> Option<Received> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.first() == Some(&0x16) {
            break bytes.len();
        }
        match stream.read(&mut chunk).await.ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    };
    let body = bytes.split_off(end);
    let mut request = Received {
        connection,
        head: String::from_utf8_lossy(&bytes).into_owned(),
        body,
    };
    let length = request.field("content-length").map_or(Ok(0), str::parse);
    while request.body.len() < length.clone().unwrap_or(0) {
        match stream.read(&mut chunk).await.ok()? {
            0 => return None,
            count => request.body.extend_from_slice(&chunk[..count]),
        }
    }
    Some(request)
}

/// A whole response.
pub(super) fn response(status: &str, fields: &str, body: &[u8]) -> Vec<Piece> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{fields}\r\n");
    vec![Piece::Bytes([head.as_bytes(), body].concat())]
}

pub(super) fn ok(body: &Value) -> Vec<Piece> {
    response("200 OK", JSON, body.to_string().as_bytes())
}

pub(super) fn not_found() -> Vec<Piece> {
    response("404 Not Found", "", b"")
}

pub(super) fn permit() -> Vec<Piece> {
    ok(&json!({"decision": true}))
}

pub(super) fn deny() -> Vec<Piece> {
    ok(&json!({"decision": false}))
}

pub(super) const JSON: &str = "Content-Type: application/json\r\n";
