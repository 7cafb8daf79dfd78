//! The deputy's side: a thread for each connection, for as long as somebody asks.
//!
//! Whoever has taken over the service can say anything here. A connection that says what is no
//! question, or takes too long over one, is closed without a word.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::{Answer, MAX_ANSWER, MAX_QUESTION, Question, frame};

/// Serves until nobody has asked or connected for as long as `idle`.
pub(super) fn serve(
    listener: &UnixListener,
    answer: impl Fn(Question) -> Answer + Send + Sync + 'static,
    idle: Duration,
) -> io::Result<()> {
    // A connection that somebody else was quicker to take must not be waited for.
    listener.set_nonblocking(true)?;
    let answer = Arc::new(answer);
    let activity = Arc::new(Activity::default());
    // Nothing is accepted after it was found to be idle: what comes then, the next deputy takes.
    while let Some(left) = activity.left_of(idle) {
        if !frame::is_ready(listener, PollFlags::POLLIN, left)? {
            continue;
        }
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        let Some(connection) = Connection::begin(&activity) else {
            continue;
        };
        let answer = Arc::clone(&answer);
        // Without another thread the connection is closed, and nothing is told.
        let _ = thread::Builder::new().spawn(move || {
            let _ = converse(&stream, &connection, &*answer);
        });
    }
    Ok(())
}

fn converse(
    stream: &UnixStream,
    connection: &Connection,
    answer: &impl Fn(Question) -> Answer,
) -> io::Result<()> {
    while frame::has_begun(stream)? {
        let _turn = connection.turn();
        let question = frame::receive(stream, MAX_QUESTION, Instant::now() + PATIENCE)?;
        let answer = answer(question);
        frame::send(stream, &answer, MAX_ANSWER, Instant::now() + PATIENCE)?;
    }
    Ok(())
}

/// Tells what befell one connection from what befell the socket.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Who is there, and since when nothing was asked.
#[derive(Debug, Default)]
struct Activity(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    connections: usize,
    turns: usize,
    latest: Instant,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            connections: 0,
            turns: 0,
            latest: Instant::now(),
        }
    }
}

impl Activity {
    /// Returns how long it is until this is idle, unless it is already.
    fn left_of(&self, idle: Duration) -> Option<Duration> {
        let counts = self.lock();
        if counts.turns > 0 {
            return Some(idle);
        }
        let left = idle.checked_sub(counts.latest.elapsed());
        left.filter(|left| !left.is_zero())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the connections there are.
struct Connection(Arc<Activity>);

impl Connection {
    /// Counts one more, unless there are too many.
    fn begin(activity: &Arc<Activity>) -> Option<Self> {
        let mut counts = activity.lock();
        if counts.connections >= MAX_CONNECTIONS {
            return None;
        }
        counts.connections += 1;
        counts.latest = Instant::now();
        drop(counts);
        Some(Self(Arc::clone(activity)))
    }

    /// Notes that something is asked, until this is dropped.
    fn turn(&self) -> Turn<'_> {
        self.0.lock().turns += 1;
        Turn(&self.0)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.lock().connections -= 1;
    }
}

struct Turn<'a>(&'a Activity);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut counts = self.0.lock();
        counts.turns -= 1;
        counts.latest = Instant::now();
    }
}

/// More than the service opens.
pub(super) const MAX_CONNECTIONS: usize = 16;

/// For a question that has begun, and for an answer to be taken: both fit into a socket's own buffer.
const PATIENCE: Duration = Duration::from_secs(1);
