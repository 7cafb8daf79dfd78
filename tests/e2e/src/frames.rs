//! The service's endpoint, byte by byte, for what no honest front-end sends.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

/// A connection to the endpoint.
#[derive(Debug)]
pub struct Frames(Socket);

impl Frames {
    /// Connects to the endpoint at `path`.
    ///
    /// # Panics
    ///
    /// If nobody listens.
    #[must_use]
    pub fn connect(path: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a Unix socket");
        let address = SockAddr::unix(path).expect("a path of a socket");
        socket
            .connect(&address)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        socket
            .set_read_timeout(Some(LONGEST_SILENCE))
            .expect("a timeout");
        Self(socket)
    }

    /// Sends bytes; whether the service still takes them shows in what it answers.
    pub fn send(&mut self, bytes: &[u8]) {
        let _closed = self.0.write_all(bytes);
    }

    /// Sends a message in a frame.
    ///
    /// # Panics
    ///
    /// If it is too long for one.
    pub fn say(&mut self, message: &Value) {
        let body = message.to_string();
        let length = u32::try_from(body.len()).expect("a short message");
        self.send(&[&length.to_be_bytes(), body.as_bytes()].concat());
    }

    /// Reads one message; none if the service has closed the connection.
    ///
    /// # Panics
    ///
    /// If it says nothing for long, or something that is no frame.
    #[must_use]
    pub fn hear(&mut self) -> Option<Value> {
        let mut prefix = [0; 4];
        self.0.read_exact(&mut prefix).ok()?;
        let length = usize::try_from(u32::from_be_bytes(prefix)).expect("a length");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a whole frame");
        Some(serde_json::from_slice(&body).expect("JSON in a frame"))
    }

    /// Reads whatever comes until the service closes the connection.
    ///
    /// # Panics
    ///
    /// If it stays open.
    #[must_use]
    pub fn hear_until_closed(mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        match self.0.read_to_end(&mut heard) {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                panic!("the service keeps the connection open; it said {heard:?}")
            }
            Ok(_) | Err(_) => heard,
        }
    }
}

/// The service gives a half frame 10 s.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);
