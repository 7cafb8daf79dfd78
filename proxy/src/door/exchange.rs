//! One forwarded request and its response.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, EXPECT, TRAILER};
use http::{HeaderValue, Request, Response, Version};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{client, server};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::gate::{Gate, Progress};
use super::http::Forward;
use crate::answer::{Answer, Form};
use crate::client_socket::ClientSocket;
use crate::hop;
use crate::limits::Limits;
use crate::relay::Quiet;

/// A request about to be forwarded over a stream of its own.
///
/// Every request is decided by itself, so none shares a connection with another.
pub(super) struct Exchange<S> {
    gate: Gate,
    upstream: S,
    progress: Arc<Progress>,
    persists: bool,
    form: Form,
    max_fields: usize,
    idle_timeout: Duration,
}

/// What is left of the client's connection afterwards.
pub(super) enum Outcome {
    /// Another request may follow; these bytes of it were read.
    Persists(ClientSocket, BytesMut),
    /// The response was sent whole, and was the last.
    Ended(ClientSocket),
    /// The exchange broke off, and so did the connection.
    Cut,
}

impl<S> Exchange<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    pub(super) fn new(
        client: ClientSocket,
        upstream: S,
        forward: Forward,
        form: Form,
        bytes: BytesMut,
        limits: &Limits,
    ) -> Self {
        let progress = Arc::new(Progress::default());
        client.begin();
        Self {
            gate: Gate::new(
                client,
                &forward.head,
                forward.framing,
                bytes,
                Arc::clone(&progress),
            ),
            upstream,
            progress,
            persists: forward.persists,
            form,
            max_fields: limits.max_fields,
            idle_timeout: limits.idle_timeout,
        }
    }

    /// Forwards the request and the response, each as fast as the other side takes it.
    pub(super) async fn run(self) -> Outcome {
        let Ok((sender, back)) = client::conn::http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(self.upstream))
            .await
        else {
            return Outcome::Cut;
        };

        let call = Call {
            progress: Arc::clone(&self.progress),
            persists: self.persists,
            form: self.form,
        };
        // The gate lets one request through, so there is one call.
        let sender = Mutex::new(Some(sender));
        let service = service_fn(move |request| {
            let sender = sender.lock().ok().and_then(|mut sender| sender.take());
            Box::pin(call.clone().answer(sender, request))
        });
        let mut front = server::conn::http1::Builder::new()
            .max_buf_size(BUFFER)
            // `Host` and `Via` are ours.
            .max_headers(self.max_fields + 2)
            .header_read_timeout(None)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(self.gate), service);

        let progress = self.progress;
        let mut back = pin!(back);
        let mut back_is_open = true;
        let mut quiet = Quiet::new(self.idle_timeout);
        let end = poll_fn(|cx| {
            if let Poll::Ready(ended) = Pin::new(&mut front).poll(cx) {
                return Poll::Ready(ended.map_err(|error| error.to_string()));
            }
            if progress.is_answered() {
                return Poll::Ready(Ok(()));
            }
            // Its failure reaches the client through the response or its content.
            if back_is_open && back.as_mut().poll(cx).is_ready() {
                back_is_open = false;
            }
            quiet
                .poll(cx, progress.take_moved())
                .map(|()| Err("nothing moved for the idle time".to_owned()))
        })
        .await;

        match end {
            Ok(()) if progress.is_answered() => {}
            Ok(()) => return Outcome::Cut,
            Err(error) => {
                tracing::debug!(error, "Cut a forwarded request");
                return Outcome::Cut;
            }
        }
        let parts = front.into_parts();
        let (client, ahead, content_is_read) = parts.io.into_inner().into_parts();
        client.complete();
        if self.persists && content_is_read && parts.read_buf.is_empty() {
            Outcome::Persists(client, ahead)
        } else {
            Outcome::Ended(client)
        }
    }
}

/// The one call to the service of an exchange.
#[derive(Clone)]
struct Call {
    progress: Arc<Progress>,
    persists: bool,
    form: Form,
}

impl Call {
    /// Sends the request on and returns the response, or says why there is none.
    async fn answer(
        self,
        sender: Option<SendRequest<Upload>>,
        request: Request<Incoming>,
    ) -> Result<Response<Download>, Infallible> {
        let progress = Arc::clone(&self.progress);
        let mut request = request.map(|body| Upload { body, progress });
        *request.version_mut() = Version::HTTP_11;
        // The expectation is met on this side.
        request.headers_mut().remove(EXPECT);

        let Some(mut sender) = sender else {
            return Ok(self.local(&Answer::bad_response(
                "proxy_internal_error",
                "A second request came where one was expected.",
            )));
        };
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(_) if self.progress.is_upload_failed() => {
                let reason = "The request's content is malformed or broke off.";
                return Ok(self.local(&Answer::bad_request(400, "bad_content", reason)));
            }
            Err(error) => return Ok(self.local(&no_response(&error))),
        };

        let (mut parts, body) = response.into_parts();
        if let Err(answer) = hop::return_fields(parts.status, &mut parts.headers) {
            return Ok(self.local(&answer));
        }
        parts.version = Version::HTTP_11;
        parts.headers.remove(TRAILER);
        if !self.persists {
            parts
                .headers
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let download = Download {
            content: Content::Remote {
                body,
                _sender: sender,
            },
            progress: self.progress,
        };
        Ok(Response::from_parts(parts, download))
    }

    fn local(self, answer: &Answer) -> Response<Download> {
        tracing::debug!(?answer, "Answered in the place of the destination");
        answer.to_response(self.form).map(|body| Download {
            content: Content::Local(body),
            progress: self.progress,
        })
    }
}

fn no_response(error: &hyper::Error) -> Answer {
    if error.is_parse() || error.is_parse_too_large() {
        Answer::bad_response(
            "http_protocol_error",
            "The application's answer is not valid HTTP.",
        )
    } else {
        Answer::bad_response(
            "connection_terminated",
            "The connection to the application ended before it answered.",
        )
    }
}

/// The client's content on its way to the destination.
struct Upload {
    body: Incoming,
    progress: Arc<Progress>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Err(_)) = frame {
            self.progress.upload_failed();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's content on its way to the client; it is dropped when all of it is.
struct Download {
    content: Content,
    progress: Arc<Progress>,
}

enum Content {
    Local(Full<Bytes>),
    Remote {
        body: Incoming,
        /// Kept so that the connection is not told to wind up in the middle.
        _sender: SendRequest<Upload>,
    },
}

impl Body for Download {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.content {
            Content::Local(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Content::Remote { body, .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Local(body) => body.is_end_stream(),
            Content::Remote { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Local(body) => body.size_hint(),
            Content::Remote { body, .. } => body.size_hint(),
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.progress.download_ended();
    }
}

/// The most that is read ahead or written behind: a header section and some content.
const BUFFER: usize = 80 * 1024;
