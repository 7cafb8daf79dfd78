//! A proxy in front of an upstream whose far ends the test holds in its hands.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use proxy::{Host, Limits, Refusal, RefusalKind, Target, Upstream, serve};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) upstream: Fake,
    opened: mpsc::Receiver<Far>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default(), true).await
    }

    pub(crate) async fn start_with(limits: Limits, admits: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opens, opened) = mpsc::channel(4096);
        let upstream = Fake {
            admits,
            opens,
            asked: Arc::default(),
            admissions: Arc::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let served = serve(listener, upstream.clone(), limits, async {
            let _told = stopped.await;
        });
        let task = tokio::spawn(async { served.await.unwrap() });
        Self {
            address,
            upstream,
            opened,
            stop: Some(stop),
            task,
        }
    }

    /// Returns the far end of the next stream that was opened.
    pub(crate) async fn far(&mut self) -> Far {
        soon(self.opened.recv()).await.unwrap()
    }

    pub(crate) async fn client(&self) -> TcpStream {
        let client = soon(TcpStream::connect(self.address)).await.unwrap();
        client.set_nodelay(true).unwrap();
        client
    }

    /// Opens a tunnel with `CONNECT`.
    pub(crate) async fn connect(&mut self) -> (TcpStream, Far) {
        let mut client = self.client().await;
        send(
            &mut client,
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
        )
        .await;
        let far = self.far().await;
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 "));
        (client, far)
    }

    /// Opens a tunnel where a paused clock would run a deadline out.
    pub(crate) async fn connect_unhurried(&mut self) -> (TcpStream, Far) {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client
            .write_all(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let far = self.opened.recv().await.unwrap();
        client.read_exact(&mut [0; 39]).await.unwrap();
        (client, far)
    }

    /// Opens a tunnel with SOCKS5.
    pub(crate) async fn socks(&mut self) -> (TcpStream, Far) {
        let mut client = self.client().await;
        client.write_all(&[5, 1, 0]).await.unwrap();
        assert_eq!(read_exactly(&mut client, 2).await, [5, 0]);
        client
            .write_all(b"\x05\x01\x00\x03\x06a.test\x01\xbb")
            .await
            .unwrap();
        let far = self.far().await;
        assert_eq!(read_exactly(&mut client, 10).await[..2], [5, 0]);
        (client, far)
    }

    /// Sends raw bytes and returns all that comes back until the connection closes.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.client().await;
        // The proxy may have seen enough before everything is written.
        let _sent = soon(client.write_all(request.as_ref())).await;
        let mut answer = Vec::new();
        let _closed = soon(client.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Stops the proxy and returns how long it took.
    pub(crate) async fn stop(mut self) -> Duration {
        let begin = std::time::Instant::now();
        self.stop.take().unwrap().send(()).unwrap();
        soon(self.task).await.unwrap();
        begin.elapsed()
    }
}

/// An upstream that refuses by name and otherwise opens in-memory streams.
#[derive(Clone)]
pub(crate) struct Fake {
    admits: bool,
    opens: mpsc::Sender<Far>,
    asked: Arc<Mutex<Vec<Target>>>,
    admissions: Arc<AtomicUsize>,
}

impl Fake {
    /// Returns every destination that the proxy asked for.
    pub(crate) fn asked(&self) -> Vec<Target> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn admissions(&self) -> usize {
        self.admissions.load(SeqCst)
    }
}

impl Upstream for Fake {
    type Client = &'static str;
    type Stream = Near;

    async fn admit(&self, client: SocketAddr, _: SocketAddr) -> Result<&'static str, Refusal> {
        assert!(client.ip().is_loopback());
        self.admissions.fetch_add(1, SeqCst);
        if self.admits {
            Ok("me")
        } else {
            Err(Refusal::new(
                RefusalKind::NotAllowedHere,
                "other_user",
                "Another user.",
            ))
        }
    }

    async fn connect(&self, client: &&'static str, target: &Target) -> Result<Near, Refusal> {
        assert_eq!(*client, "me");
        self.asked.lock().unwrap().push(target.clone());
        let Host::Name(name) = &target.host else {
            return self.open(target).await;
        };
        let kind = match name.as_str() {
            "denied.test" => {
                return Err(Refusal::new(
                    RefusalKind::Denied,
                    "posture_firewall",
                    "The \"firewall\" of this device is off <now>.",
                )
                .with_remedy("Switch the firewall on.")
                .with_reference("d-42"));
            }
            "down.test" => RefusalKind::GatewayUnavailable,
            "refused.test" => RefusalKind::ConnectionRefused,
            "late.test" => RefusalKind::Timeout,
            "unknown.test" => RefusalKind::UnknownDestination,
            "nxdomain.test" => RefusalKind::NameNotResolved,
            "broken.test" => RefusalKind::Internal,
            "hangs.test" => std::future::pending().await,
            _ => return self.open(target).await,
        };
        Err(Refusal::new(kind, "made_up", "Made up."))
    }

    fn pac_patterns(&self) -> Vec<String> {
        vec!["wiki.corp.test".into(), "*.dev.test".into()]
    }
}

impl Fake {
    async fn open(&self, target: &Target) -> Result<Near, Refusal> {
        let (io, far) = duplex(16 * 1024);
        let (cut, is_cut) = oneshot::channel();
        let pulled = Arc::new(AtomicUsize::new(0));
        let far = Far {
            io: far,
            target: target.clone(),
            cut: Some(cut),
            pulled: Arc::clone(&pulled),
        };
        self.opens.send(far).await.unwrap();
        Ok(Near { io, is_cut, pulled })
    }
}

/// The test's end of an upstream stream.
pub(crate) struct Far {
    pub(crate) io: DuplexStream,
    pub(crate) target: Target,
    cut: Option<oneshot::Sender<()>>,
    pub(crate) pulled: Arc<AtomicUsize>,
}

impl Far {
    /// Withdraws access.
    pub(crate) fn cut(&mut self) {
        self.cut.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.io.write_all(bytes.as_ref())).await.unwrap();
    }

    pub(crate) async fn read_head(&mut self) -> String {
        read_head(&mut self.io).await
    }

    pub(crate) async fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        read_exactly(&mut self.io, count).await
    }
}

/// The proxy's end of an upstream stream.
pub(crate) struct Near {
    io: DuplexStream,
    is_cut: oneshot::Receiver<()>,
    pulled: Arc<AtomicUsize>,
}

impl Near {
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.is_cut).poll(cx) {
            Poll::Ready(Ok(())) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Ready(Err(_)) | Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Near {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_cut.is_terminated() {
            self.poll_cut(cx)?;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.pulled.fetch_add(buf.filled().len() - before, SeqCst);
        read
    }
}

impl AsyncWrite for Near {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future)
        .await
        .expect("it happens within 20 s")
}

pub(crate) async fn send(client: &mut TcpStream, text: &str) {
    soon(client.write_all(text.as_bytes())).await.unwrap();
}

/// Reads a header section, the empty line included.
pub(crate) async fn read_head(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(soon(from.read_u8()).await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) async fn read_exactly(from: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    soon(from.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// Reads to the end, or to the failure that the connection ended in.
pub(crate) async fn read_to_end(client: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let ended = soon(client.read_to_end(&mut bytes)).await.map(drop);
    (bytes, ended)
}

pub(crate) fn assert_reset(ended: io::Result<()>) {
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// Waits until a condition holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
