//! The protocol of `sd_notify(3)`: one datagram for each thing that is told.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

pub(super) fn host(_body: fn() -> bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[derive(Debug)]
pub(super) struct Supervisor {
    channel: Option<(UnixDatagram, SocketAddr)>,
    pace: Option<Duration>,
    last_sign: Option<Instant>,
}

impl Supervisor {
    pub(super) fn find(environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let channel = environment("NOTIFY_SOCKET").and_then(|name| open(&name));
        let patience = channel.as_ref().and_then(|_| patience(&environment));
        Self {
            channel,
            // Twice as often as systemd asks for, for a machine that is busy.
            pace: patience.map(|patience| patience / 4),
            last_sign: None,
        }
    }

    pub(super) const fn pace(&self) -> Option<Duration> {
        self.pace
    }

    pub(super) fn alive(&mut self) {
        let Some(pace) = self.pace else { return };
        // Half a pace: whoever calls once in each must not miss one by a hair.
        if self.last_sign.is_none_or(|last| last.elapsed() >= pace / 2) {
            self.tell("WATCHDOG=1");
            self.last_sign = Some(Instant::now());
        }
    }

    /// What cannot be told is not told again: if it matters, systemd acts by itself.
    pub(super) fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.channel {
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

/// Opens the way to a socket of the file system or, with an `@`, to an abstract one.
fn open(name: &OsStr) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    // The service must not wait for whoever watches it.
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}

/// Returns after how long without a sign systemd would end this process.
fn patience(environment: impl Fn(&str) -> Option<OsString>) -> Option<Duration> {
    let number = |name| environment(name)?.to_str()?.parse::<u64>().ok();
    let is_for_us = match environment("WATCHDOG_PID") {
        None => true,
        Some(_) => number("WATCHDOG_PID") == Some(std::process::id().into()),
    };
    number("WATCHDOG_USEC")
        .filter(|micros| is_for_us && *micros > 0)
        .map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_the_file_system_and_an_abstract_one_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstract_name = format!("ztna-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for (name, socket) in [
            (
                path.clone().into_os_string(),
                UnixDatagram::bind(&path).unwrap(),
            ),
            (
                format!("@{abstract_name}").into(),
                UnixDatagram::bind_addr(&address).unwrap(),
            ),
        ] {
            let supervisor =
                Supervisor::find(|variable| (variable == "NOTIFY_SOCKET").then(|| name.clone()));

            supervisor.tell("READY=1");

            assert_eq!(next(&socket).as_deref(), Some("READY=1"), "{name:?}");
        }
    }

    #[test]
    fn a_sign_of_life_is_given_once_in_a_while_and_only_where_somebody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let own = std::process::id();
        let find = |pid: u32, micros: &'static str| {
            let path = path.clone();
            Supervisor::find(move |variable| match variable {
                "NOTIFY_SOCKET" => Some(path.clone().into()),
                "WATCHDOG_PID" => Some(pid.to_string().into()),
                "WATCHDOG_USEC" => Some(micros.into()),
                _ => None,
            })
        };

        let mut supervisor = find(own, "60000000");
        supervisor.alive();
        supervisor.alive();

        assert_eq!(supervisor.pace(), Some(Duration::from_secs(15)));
        assert_eq!(next(&socket).as_deref(), Some("WATCHDOG=1"));
        assert_eq!(next(&socket), None);
        for mut other in [find(own + 1, "60000000"), find(own, "0"), find(own, "soon")] {
            other.alive();
            assert_eq!(other.pace(), None);
            assert_eq!(next(&socket), None);
        }
    }

    #[test]
    fn without_a_supervisor_or_with_an_unusable_one_nothing_happens() {
        for name in [None, Some("relative"), Some(""), Some("/no/such/socket")] {
            let mut supervisor = Supervisor::find(|variable| {
                name.filter(|_| variable == "NOTIFY_SOCKET")
                    .map(OsString::from)
            });

            supervisor.tell("READY=1");
            supervisor.alive();

            assert_eq!(supervisor.pace(), None);
        }
    }

    fn next(socket: &UnixDatagram) -> Option<String> {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}
