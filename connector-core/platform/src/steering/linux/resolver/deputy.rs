//! A deputy changes `/etc/resolv.conf` for a service that may not write into `/etc`.
//!
//! systemd listens for it, starts one for each request, and lets nobody but the
//! service's user ask. Whoever has taken over the service can ask as well: a deputy
//! therefore writes nothing there but settings of a resolver, and puts nothing back
//! that could be run, belong to somebody else, or lead root's programs elsewhere.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::file::{self, Config, Content};

/// The way to a deputy.
#[derive(Debug)]
pub(super) struct Deputy(PathBuf);

impl Deputy {
    /// Returns the way, where there is one and it is needed.
    pub(super) fn find() -> Option<Self> {
        let socket = Path::new(SOCKET);
        (!geteuid().is_root() && socket.exists()).then(|| Self(socket.to_owned()))
    }

    /// Has `text` written in the place of what is there.
    pub(super) fn put(&self, text: &[u8]) -> io::Result<()> {
        self.ask(&Request::Put {
            text: text.to_vec(),
        })
    }

    /// Has `original` put back.
    pub(super) fn restore(&self, original: &Config) -> io::Result<()> {
        self.ask(&Request::Restore {
            original: original.clone(),
        })
    }

    fn ask(&self, request: &Request) -> io::Result<()> {
        let about = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.0.display()))
        };
        let mut stream = UnixStream::connect(&self.0).map_err(about)?;
        let answer = exchange(&mut stream, request).map_err(about)?;
        match answer.trim_end() {
            DONE => Ok(()),
            "" => Err(about(io::ErrorKind::UnexpectedEof.into())),
            refusal => Err(io::Error::other(refusal.to_owned())),
        }
    }
}

fn exchange(stream: &mut UnixStream, request: &Request) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&serde_json::to_vec(request)?)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Carries out the one request that `input` holds, and says on `output` what came of it.
pub(crate) fn serve(input: impl Read, output: impl Write) -> io::Result<()> {
    serve_at(Path::new(super::RESOLV_CONF), input, output)
}

fn serve_at(path: &Path, input: impl Read, mut output: impl Write) -> io::Result<()> {
    let outcome = read(input).and_then(|request| request.carry_out(path));
    match outcome {
        Ok(()) => writeln!(output, "{DONE}"),
        Err(error) => writeln!(output, "{}", error.to_string().replace('\n', " ")),
    }
}

fn read(input: impl Read) -> io::Result<Request> {
    let mut bytes = Vec::new();
    input.take(MAX_REQUEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_REQUEST {
        return Err(refusal("the request is too long"));
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// What a deputy can be asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", deny_unknown_fields)]
enum Request {
    Put { text: Vec<u8> },
    Restore { original: Config },
}

impl Request {
    fn carry_out(self, path: &Path) -> io::Result<()> {
        let there = Config::read(path)?;
        match self {
            Self::Put { text } => {
                check_text(&text)?;
                if let Config::Link { target } = &there {
                    check_target(path, target)?;
                }
                file::put(path, &there, &text)
            }
            Self::Restore { original } => {
                check_original(path, &original, &there)?;
                original.restore(path)
            }
        }
    }
}

/// Accepts what the connector writes, and nothing else.
fn check_text(text: &[u8]) -> io::Result<()> {
    let lines = text
        .strip_prefix(file::MARKER)
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .ok_or_else(|| refusal("the text is not the connector's"))?;
    let is_setting = |line: &str| {
        let keyword = line.split_whitespace().next().unwrap_or_default();
        SETTINGS.contains(&keyword) && !line.contains(|c: char| c.is_control() && c != '\t')
    };
    match lines.lines().all(is_setting) {
        true => Ok(()),
        false => Err(refusal("the text has a line that is no setting of it")),
    }
}

/// Accepts what can have been there before.
fn check_original(path: &Path, original: &Config, there: &Config) -> io::Result<()> {
    // What is written in the place of a file keeps its owner and mode.
    let (owner, kept) = match there {
        Config::File(file) => ((file.user, file.group), file.mode),
        Config::Missing => ((0, 0), READABLE),
        Config::Link { .. } => return Err(refusal("somebody else has put a link there")),
    };
    match original {
        Config::File(Content {
            mode, user, group, ..
        }) => {
            if *mode != kept && mode & !READABLE != 0 {
                return Err(refusal("it cannot have been a file of that mode"));
            }
            if (*user, *group) != owner {
                return Err(refusal("it cannot have been somebody else's file"));
            }
            Ok(())
        }
        Config::Link { target } => check_target(path, target),
        Config::Missing => Ok(()),
    }
}

/// Accepts links to where the usual programs keep the file.
fn check_target(path: &Path, target: &Path) -> io::Result<()> {
    let mut place = PathBuf::new();
    let whole = path.with_file_name(target);
    for component in whole.components() {
        match component {
            Component::ParentDir => {
                place.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::Prefix(_) | Component::RootDir => {
                place.push(component);
            }
        }
    }
    if TARGETS.iter().any(|known| place == Path::new(known)) {
        return Ok(());
    }
    Err(refusal(&format!(
        "it is a link to {}, which is not a usual place: a service that does not run as root leaves it alone",
        target.display()
    )))
}

fn refusal(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_owned())
}

/// Where systemd listens; as in `installers/linux/ztna-resolver.socket`.
const SOCKET: &str = "/run/ztna-resolver.sock";

/// What a resolver is told (`resolv.conf(5)`).
const SETTINGS: [&str; 5] = ["domain", "nameserver", "options", "search", "sortlist"];

/// Files that every program reads, for writing by owner or group at most.
const READABLE: u32 = 0o664;

/// systemd-resolved, NetworkManager, resolvconf, connman, netconfig.
const TARGETS: [&str; 8] = [
    "/etc/resolvconf/run/resolv.conf",
    "/lib/systemd/resolv.conf",
    "/run/NetworkManager/resolv.conf",
    "/run/connman/resolv.conf",
    "/run/netconfig/resolv.conf",
    "/run/resolvconf/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/systemd/resolve/stub-resolv.conf",
];

const DONE: &str = "done";

/// Starting a process takes milliseconds, on a machine that boots a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file of 64 KiB, each byte as a number.
const MAX_REQUEST: u64 = 512 * 1024;
const MAX_ANSWER: u64 = 4096;

#[cfg(test)]
mod tests;
