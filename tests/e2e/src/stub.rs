//! A web server whose answers a test makes up, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it came.
#[derive(Debug)]
pub struct Request {
    /// Request line and fields.
    pub head: String,
    /// The content.
    pub body: Vec<u8>,
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Stub {
    /// Serves at `address`; `answer` writes the whole response. Each connection carries one request.
    ///
    /// # Panics
    ///
    /// If the address is taken.
    pub fn start(
        address: &str,
        answer: impl Fn(Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = listener.local_addr().expect("the stub's address");
        let stopping = Arc::new(AtomicBool::new(false));
        let (stop, answer) = (Arc::clone(&stopping), Arc::new(answer));
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || serve(stream, &*answer));
            }
        });
        Self {
            address,
            stopping,
            acceptor: Some(acceptor),
        }
    }

    /// Returns the base URL, without a slash at the end.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the acceptor, which then lets go of the port.
        let _woken = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
    }
}

/// Returns a response.
#[must_use]
pub fn response(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(Request) -> Vec<u8>) {
    // Whoever hangs up in the middle is not answered.
    let _slow = stream.set_read_timeout(Some(Duration::from_secs(30)));
    if let Some(request) = read(&mut stream) {
        let _gone = stream.write_all(&answer(request));
    }
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    };
    let body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = field(&head, "content-length")
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    let mut request = Request { head, body };
    while request.body.len() < length {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(count) => request.body.extend_from_slice(&chunk[..count]),
        }
    }
    Some(request)
}

/// Returns the value of the field `name`, which is written in lower case.
#[must_use]
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
