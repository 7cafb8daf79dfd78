//! `/etc/resolv.conf` (`resolv.conf(5)`): a file, a link to one, or a file that is
//! mounted there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, Timespec, Timestamps, futimens};
use serde::{Deserialize, Serialize};

/// What is at a path, with all that it takes to put it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum Config {
    /// A file.
    File(Content),
    /// A link, as `readlink(1)` tells it.
    Link {
        /// Where it leads.
        target: PathBuf,
    },
    /// Nothing.
    Missing,
}

/// A file's content and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
    modified: (i64, i64),
}

impl Config {
    /// Returns what is at `path`.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Missing),
            Err(error) => return Err(error),
        };
        if metadata.is_symlink() {
            let target = fs::read_link(path)?;
            return Ok(Self::Link { target });
        }
        Ok(Self::File(Content {
            bytes: read_bounded(path)?,
            mode: metadata.permissions().mode() & 0o7777,
            user: metadata.uid(),
            group: metadata.gid(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }))
    }

    /// Returns the text that programs read there.
    pub(super) fn text(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self {
            Self::File(content) => Ok(content.bytes.clone()),
            Self::Link { target } => {
                let target = path.with_file_name(target);
                match read_bounded(&target) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                    text => text,
                }
            }
            Self::Missing => Ok(Vec::new()),
        }
    }

    /// Returns whether this is a file with just this text.
    pub(super) fn is_exactly(&self, text: &[u8]) -> bool {
        matches!(self, Self::File(content) if content.bytes == text)
    }

    /// Puts this back in the place of what [`put`] wrote.
    pub(super) fn restore(&self, path: &Path) -> io::Result<()> {
        let new = beside(path);
        remove_if_there(&new)?;
        match self {
            Self::File(content) => replace(path, content),
            Self::Link { target } => {
                symlink(target, &new)?;
                fs::rename(&new, path)
            }
            Self::Missing => remove_if_there(path),
        }
    }

    /// Returns whether what is `there` may be what is left of `ours`, which was
    /// put in the place of this: whole, edited, or half written.
    pub(super) fn is_replaced_by(&self, there: &Self, ours: &[u8]) -> bool {
        let Self::File(there) = there else {
            return false;
        };
        let was_cut_short = match self {
            Self::File(original) => {
                there.bytes.len() < original.bytes.len() && original.bytes.starts_with(&there.bytes)
            }
            Self::Link { .. } | Self::Missing => false,
        };
        there.bytes.starts_with(MARKER) || was_cut_short || ours.starts_with(&there.bytes)
    }
}

/// Returns whether what is there was written by this program, whichever process.
pub(super) fn is_ours(there: &Config) -> bool {
    matches!(there, Config::File(content) if content.bytes.starts_with(MARKER))
}

/// Writes `text` to `path` in the place of `original`.
pub(super) fn put(path: &Path, original: &Config, text: &[u8]) -> io::Result<()> {
    let content = match original {
        Config::File(original) => Content {
            bytes: text.to_vec(),
            ..original.clone()
        },
        Config::Link { .. } | Config::Missing => Content {
            bytes: text.to_vec(),
            mode: 0o644,
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            modified: (0, 0),
        },
    };
    let content = Content {
        modified: NOW,
        ..content
    };
    replace(path, &content)
}

/// Removes what a process that was killed may have left beside the file.
pub(super) fn tidy(path: &Path) -> io::Result<()> {
    remove_if_there(&beside(path))
}

/// Returns the text that sends every question to `servers` and leaves the rest
/// as it was.
pub(super) fn pointing_at(servers: &[IpAddr], original: &[u8]) -> Vec<u8> {
    let mut text = MARKER.to_vec();
    for server in servers {
        text.extend(format!("nameserver {server}\n").bytes());
    }
    let original = String::from_utf8_lossy(original);
    for line in original.lines() {
        if matches!(keyword(line), "search" | "domain" | "options" | "sortlist") {
            text.extend(line.trim_end().bytes());
            text.push(b'\n');
        }
    }
    text
}

/// Returns the name servers that a text names; where it names none, programs ask
/// their own machine.
pub(super) fn servers(text: &[u8]) -> Vec<SocketAddr> {
    let text = String::from_utf8_lossy(text);
    let named: Vec<SocketAddr> = text
        .lines()
        .filter(|line| keyword(line) == "nameserver")
        .filter_map(|line| server(line.split_whitespace().nth(1)?))
        .collect();
    if named.is_empty() {
        return vec![SocketAddr::from(([127, 0, 0, 1], DNS))];
    }
    named
}

fn server(text: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse().ok()?, DNS));
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let index = match zone.parse() {
        Ok(index) => index,
        Err(_) => super::link_index(zone)?,
    };
    Some(SocketAddrV6::new(address, DNS, 0, index).into())
}

fn keyword(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// At once where that is possible: not where the file is a mount, or lies in a
/// directory that cannot be written to.
fn replace(path: &Path, content: &Content) -> io::Result<()> {
    let new = beside(path);
    remove_if_there(&new)?;
    let at_once = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&content.bytes)?;
        adorn(&file, content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    match at_once() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ResourceBusy
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            let _ = fs::remove_file(&new);
            overwrite(path, content)
        }
        outcome => outcome.inspect_err(|_| {
            let _ = fs::remove_file(&new);
        }),
    }
}

/// Whenever this is interrupted, the file is the beginning of what it was, or
/// begins with what it is to be.
fn overwrite(path: &Path, content: &Content) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let length = content.bytes.len() as u64;
    if file.metadata()?.len() > length {
        file.set_len(length)?;
    }
    file.write_all(&content.bytes)?;
    adorn(&file, content)?;
    file.sync_all()
}

fn adorn(file: &File, content: &Content) -> io::Result<()> {
    let metadata = file.metadata()?;
    if (metadata.uid(), metadata.gid()) != (content.user, content.group) {
        std::os::unix::fs::fchown(file, Some(content.user), Some(content.group))?;
    }
    if metadata.permissions().mode() & 0o7777 != content.mode {
        file.set_permissions(fs::Permissions::from_mode(content.mode))?;
    }
    if content.modified != NOW {
        let (tv_sec, tv_nsec) = content.modified;
        let time = Timespec { tv_sec, tv_nsec };
        futimens(
            file,
            &Timestamps {
                last_access: time,
                last_modification: time,
            },
        )?;
    }
    Ok(())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Opening a pipe that somebody put there must not wait.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!(
            "{} is larger than {MAX_FILE} bytes, which no resolver reads",
            path.display()
        )));
    }
    Ok(bytes)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Nothing of ours can be where nothing can be written.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        outcome => outcome,
    }
}

/// Where the new file is written before it takes the old one's place.
fn beside(path: &Path) -> PathBuf {
    path.with_file_name(".resolv.conf.ztna")
}

/// The first line of what we write.
pub(super) const MARKER: &[u8] =
    b"# Written by the ZTNA connector for as long as it is in use; `ztna down` restores what was here.\n";

/// In the place of a time: the time of writing.
const NOW: (i64, i64) = (i64::MIN, 0);

/// The port of DNS.
const DNS: u16 = 53;

/// Such a file has a dozen lines.
const MAX_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_file_is_kept() {
        let original = b"# by somebody\nnameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2  \nnameserver fe80::1%1\n";

        let ours = pointing_at(&["198.18.0.1".parse().unwrap()], original);

        let text = String::from_utf8(ours.clone()).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        assert_eq!(
            rest,
            "nameserver 198.18.0.1\nsearch a.example b.example\noptions ndots:2\n"
        );
        assert_eq!(servers(&ours), ["198.18.0.1:53".parse().unwrap()]);
        assert_eq!(
            servers(original),
            [
                "10.0.0.1:53".parse().unwrap(),
                "[fe80::1%1]:53".parse().unwrap()
            ]
        );
    }

    #[test]
    fn a_text_without_name_servers_means_this_machine() {
        assert_eq!(
            servers(b"nameserver nonsense\n"),
            ["127.0.0.1:53".parse().unwrap()]
        );
    }

    #[test]
    fn a_file_comes_back_with_its_mode_and_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("resolv.conf");
        fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = Config::read(&path).unwrap();

        put(&path, &before, b"ours").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ours");
        before.restore(&path).unwrap();

        assert_eq!(Config::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_comes_back_and_what_it_leads_to_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("resolv.conf");
        fs::write(root.path().join("real"), "nameserver 10.0.0.1\n").unwrap();
        symlink("real", &path).unwrap();
        let before = Config::read(&path).unwrap();
        assert_eq!(before.text(&path).unwrap(), b"nameserver 10.0.0.1\n");

        put(&path, &before, b"ours").unwrap();
        assert_eq!(
            fs::read(root.path().join("real")).unwrap(),
            b"nameserver 10.0.0.1\n"
        );
        before.restore(&path).unwrap();

        assert_eq!(fs::read_link(&path).unwrap(), Path::new("real"));
    }

    #[test]
    fn nothing_comes_back_as_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("resolv.conf");
        let before = Config::read(&path).unwrap();

        put(&path, &before, b"ours").unwrap();
        before.restore(&path).unwrap();

        assert_eq!(Config::read(&path).unwrap(), Config::Missing);
    }

    #[test]
    fn half_written_files_are_told_from_those_of_others() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("resolv.conf");
        let at = |text: &[u8]| {
            fs::write(&path, text).unwrap();
            Config::read(&path).unwrap()
        };
        let original = at(b"nameserver 10.0.0.1\nsearch example\n");
        let ours = pointing_at(&["198.18.0.1".parse().unwrap()], b"");

        for left in [&ours[..], &ours[..40], b"", b"nameserver 10.0"] {
            assert!(original.is_replaced_by(&at(left), &ours), "{left:?}");
        }
        for other in [
            &b"nameserver 10.0.0.2\n"[..],
            b"nameserver 10.0.0.1\nsearch example\n",
        ] {
            assert!(!original.is_replaced_by(&at(other), &ours), "{other:?}");
        }
        assert!(!original.is_replaced_by(&Config::Missing, &ours));
    }
}
