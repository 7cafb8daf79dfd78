//! The packet filter: `nft(8)` to change it, `nfnetlink` to look at it.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use super::guard::{STAND_IN, TABLE, TABLES};
use super::netlink::{FILTER, Message, Socket, attributes, field, text};

/// Carries out a script as one transaction: all of it or nothing. Blocks.
///
/// # Errors
///
/// If there is no `nft`, or it refuses.
pub(super) fn run(script: &str) -> io::Result<()> {
    let program = program()?;
    // A file, not a pipe: were this process killed while it writes, the rest of
    // the script would be missing, and what is there would be carried out.
    let mut input = File::from(memfd_create("nft", MemfdFlags::CLOEXEC)?);
    input.write_all(script.as_bytes())?;
    input.rewind()?;

    let mut command = Command::new(program);
    command
        .args(["-f", "-"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    die_with_parent(&mut command);
    let output = command.spawn()?.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first: String = complaint
        .lines()
        .next()
        .unwrap_or("it says nothing")
        .chars()
        .take(300)
        .collect();
    Err(io::Error::other(format!(
        "{program} refuses ({}): {first}",
        output.status
    )))
}

/// Returns where `nft` is.
pub(super) fn program() -> io::Result<&'static str> {
    let found = PROGRAMS.into_iter().find(|path| Path::new(path).is_file());
    found.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "the program nft is not at {}: install the package nftables",
                PROGRAMS[0]
            ),
        )
    })
}

/// A transaction of a process that is gone must not come after its repair.
#[expect(
    unsafe_code,
    reason = "std offers no other way into a child between fork and exec"
)]
fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let in_child = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // One that died before that gives no signal any more.
        match getppid() == Some(parent) {
            true => Ok(()),
            false => Err(io::ErrorKind::NotConnected.into()),
        }
    };
    // SAFETY: the closure only makes system calls, which a child may make between
    // fork and exec, and allocates nothing.
    unsafe { command.pre_exec(in_child) };
}

/// Tells what our tables contain: two that are equal contain the same.
///
/// Without the counters' values; the same tables loaded again differ, since the
/// kernel numbers what is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    /// Takes the fingerprint of what is loaded now.
    pub(super) fn take() -> io::Result<Self> {
        let socket = Socket::open(FILTER)?;
        let mut sum = 0;
        for (_, family) in TABLES {
            let header = header(family);
            let named = |kind| {
                Message::new(kind, &header).attribute(NAME_OF_TABLE, &terminated(TABLE.as_bytes()))
            };
            match socket.ask(&named(GET_TABLE)) {
                Ok(table) => sum = add(sum, &table),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            for kind in [GET_CHAIN, GET_RULE] {
                for body in socket.dump(&named(kind))? {
                    if is_about_us(&body) {
                        sum = add(sum, &body);
                    }
                }
            }
            for set in socket.dump(&named(GET_SET))? {
                sum = add(sum, &set);
                let name = attributes(&set, HEADER).find(|(kind, _)| *kind == NAME_OF_SET);
                let Some((_, name)) = name else { continue };
                let question = named(GET_ELEMENTS).attribute(NAME_OF_SET, &terminated(text(name)));
                for body in socket.dump(&question)? {
                    sum = add(sum, &body);
                }
            }
        }
        Ok(Self(sum))
    }
}

/// Returns how many transactions the packet filter has seen, of all programs.
pub(super) fn generation() -> io::Result<u32> {
    let socket = Socket::open(FILTER)?;
    let answer = socket.ask(&Message::new(GET_GENERATION, &header(0)))?;
    attributes(&answer, HEADER)
        .find(|(kind, _)| *kind == NUMBER_OF_GENERATION)
        .and_then(|(_, value)| field(value, 0))
        .map(u32::from_be_bytes)
        .ok_or_else(|| io::Error::other("the packet filter does not tell its generation"))
}

/// Returns whether one of our tables is there.
pub(super) fn is_there() -> io::Result<bool> {
    let socket = Socket::open(FILTER)?;
    let names = [TABLE, STAND_IN];
    for (name, family) in names
        .iter()
        .flat_map(|name| TABLES.map(|(_, family)| (name, family)))
    {
        let question = Message::new(GET_TABLE, &header(family))
            .attribute(NAME_OF_TABLE, &terminated(name.as_bytes()));
        match socket.ask(&question) {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Returns whether a notice is about one of our tables.
pub(super) fn is_told_of(kind: u16, notice: &[u8]) -> bool {
    kind >> 8 == SUBSYSTEM && kind & 0xff != NEW_GENERATION && is_about_us(notice)
}

/// Tables, chains, rules, sets and elements all tell their table in the same place.
fn is_about_us(body: &[u8]) -> bool {
    let is_our_family = TABLES
        .iter()
        .any(|(_, family)| body.first() == Some(family));
    is_our_family
        && attributes(body, HEADER)
            .any(|(kind, value)| kind == NAME_OF_TABLE && text(value) == TABLE.as_bytes())
}

/// Adds regardless of order: sets do not keep theirs.
fn add(sum: u64, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Behind the family come the number of the last transaction of all tables, and
    // padding.
    body.first().hash(&mut hasher);
    body.get(HEADER..).hash(&mut hasher);
    sum.wrapping_add(hasher.finish())
}

/// `struct nfgenmsg`
const fn header(family: u8) -> [u8; HEADER] {
    [family, 0, 0, 0]
}

fn terminated(name: &[u8]) -> Vec<u8> {
    [name, &[0]].concat()
}

/// The group that is told of every change (`NFNLGRP_NFTABLES`), as a bit.
pub(super) const GROUP: u32 = 1 << 6;

/// Where distributions put it, the usual place first; the last is of NixOS.
const PROGRAMS: [&str; 4] = [
    "/usr/sbin/nft",
    "/sbin/nft",
    "/usr/local/sbin/nft",
    "/run/current-system/sw/bin/nft",
];

/// From `linux/netfilter/nfnetlink.h` and `linux/netfilter/nf_tables.h`.
const SUBSYSTEM: u16 = 10;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
const GET_RULE: u16 = SUBSYSTEM << 8 | 7;
const GET_SET: u16 = SUBSYSTEM << 8 | 10;
const GET_ELEMENTS: u16 = SUBSYSTEM << 8 | 13;
const NEW_GENERATION: u16 = 15;
const GET_GENERATION: u16 = SUBSYSTEM << 8 | 16;
const NUMBER_OF_GENERATION: u16 = 1;
const HEADER: usize = 4;
const NAME_OF_TABLE: u16 = 1;
const NAME_OF_SET: u16 = 2;
