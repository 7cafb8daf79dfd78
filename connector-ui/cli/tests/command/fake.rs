//! A service that says what a test tells it to, at a real endpoint.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use connector_ipc::frame::{self, PREFIX};
use connector_ipc::{Hello, Reply, Request, VERSION, Welcome};
use connector_platform::endpoint::{Audience, Listener, ServerStream};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

/// The service; it ends when dropped.
pub(crate) struct FakeService {
    socket: PathBuf,
    requests: Arc<Mutex<Vec<Request>>>,
    _runtime: Runtime,
    _dir: TempDir,
}

/// What the service does once it has said everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Close,
    Wait,
}

impl FakeService {
    /// Welcomes the front-end, answers its request with `replies` and ends the connection.
    pub(crate) fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::speaking(&welcome(VERSION), replies, Then::Close)
    }

    /// Welcomes the front-end, answers its request with `replies` and goes on listening.
    pub(crate) fn following(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::speaking(&welcome(VERSION), replies, Then::Wait)
    }

    /// Answers the hello with `greeting`, the request with `replies`.
    pub(crate) fn speaking(
        greeting: &Reply,
        replies: impl IntoIterator<Item = Reply>,
        then: Then,
    ) -> Self {
        let encode = |reply: &Reply| frame::encode(reply).unwrap();
        let replies: Vec<u8> = replies
            .into_iter()
            .flat_map(|reply| encode(&reply))
            .collect();
        Self::blurting(encode(greeting), replies, then)
    }

    /// Answers the first request with the first of `conversations`, the second with the
    /// second, and every further one with the last.
    pub(crate) fn in_turn(conversations: impl IntoIterator<Item = Vec<Reply>>) -> Self {
        let encode = |reply: &Reply| frame::encode(reply).unwrap();
        let conversations = conversations
            .into_iter()
            .map(|replies| replies.iter().flat_map(encode).collect())
            .collect();
        Self::serving(encode(&welcome(VERSION)), conversations, Then::Close)
    }

    /// Answers the hello with the bytes of `greeting`, the request with those of `replies`.
    pub(crate) fn blurting(greeting: Vec<u8>, replies: Vec<u8>, then: Then) -> Self {
        Self::serving(greeting, vec![replies], then)
    }

    fn serving(greeting: Vec<u8>, conversations: Vec<Vec<u8>>, then: Then) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("run/ztnad.sock");
        let requests = Arc::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut listener = {
            let _entered = runtime.enter();
            Listener::bind(&socket, Audience::Own).unwrap()
        };
        runtime.spawn({
            let requests = Arc::clone(&requests);
            async move {
                let mut turn = 0;
                while let Ok(stream) = listener.accept().await {
                    let replies = &conversations[turn.min(conversations.len() - 1)];
                    converse(stream, &greeting, replies, then, &requests).await;
                    turn += 1;
                }
            }
        });

        Self {
            socket,
            requests,
            _runtime: runtime,
            _dir: dir,
        }
    }

    /// Returns the requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns `ztna ARGUMENTS`, to be run against this service.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = ztna(arguments);
        command.env("ZTNA_SOCKET", &self.socket);
        command
    }

    /// Runs `ztna ARGUMENTS` against this service.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.command(arguments).output().unwrap().into()
    }
}

/// Returns `ztna ARGUMENTS` in an environment without a terminal, a display or a service.
pub(crate) fn ztna(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ztna"));
    command
        .args(arguments)
        .env_clear()
        .env("ZTNA_SOCKET", "/nonexistent/ztnad.sock")
        .stdin(Stdio::null());
    command
}

/// What a run of `ztna` left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Returns the standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) fn welcome(version: u16) -> Reply {
    Reply::Welcome(Welcome {
        version,
        service: "9.8.7".into(),
    })
}

async fn converse(
    mut stream: ServerStream,
    greeting: &[u8],
    replies: &[u8],
    then: Then,
    requests: &Mutex<Vec<Request>>,
) {
    let Some(hello) = receive(&mut stream).await else {
        return;
    };
    let hello: Hello = frame::decode(&hello).unwrap();
    assert_eq!(hello.version, VERSION);
    assert!(hello.client.starts_with("ztna "));
    let _ = stream.write_all(greeting).await;
    if then == Then::Close && replies.is_empty() {
        return;
    }

    if let Some(request) = receive(&mut stream).await {
        requests
            .lock()
            .unwrap()
            .push(frame::decode(&request).unwrap());
        let _ = stream.write_all(replies).await;
    }
    if then == Then::Wait {
        let _ = stream.read_u8().await;
    }
}

async fn receive(stream: &mut ServerStream) -> Option<Vec<u8>> {
    let mut prefix = [0; PREFIX];
    stream.read_exact(&mut prefix).await.ok()?;
    let mut body = vec![0; frame::body_length(prefix).unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}
