//! The kernel tells a socket's user and inode, `/proc` the processes that hold it.
//!
//! Reading every process' table of descriptors takes some 2 µs for each descriptor:
//! 10 ms where 200 processes have 20 each, far too long for a flow's first packet.
//! So the search for a holder begins where it is likely: the newest processes of the
//! socket's user, those that held the latest sockets, the rest of the user's, then
//! everybody's (a program that gives up its rights keeps its sockets). Once a
//! holder is found, another program can hold the socket too by inheritance: it is
//! then a descendant, an ancestor, or a peer of the holder's session (the jobs of
//! one shell, the processes of one service), of whatever user. Descendants and
//! ancestors are looked through; so are the peers where they are few. Where they are
//! many, as in a desktop's session, only where inheritance leaves a socket: under the
//! holder's number, or as a standard input or output. The first process is left out: it
//! hands sockets to the services that it starts and does not speak through them.
//!
//! A program may also leave a socket to another one that it starts and cuts loose, in a
//! session of its own, to be taken for it. A descriptor that is closed when its process
//! becomes another program did not come that way: whoever has it asked for it. For any
//! other descriptor, all processes of the machine are looked through. What is not looked
//! for is a copy that a program passed to one that asked for it: it could as well relay.
//!
//! Without `CAP_SYS_PTRACE` (and, for a user other than root, `CAP_DAC_READ_SEARCH`), only processes of the own user that are dumpable can be
//! looked into. A descendant of the holder that cannot be looked into is a doubt. The system's service has neither: it finds
//! the sockets, and a deputy who holds them (`crate::programs`).

mod census;
mod process;
mod sockets;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::iter;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use connector_core::access::{Program, Workload};
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use self::process::{Descriptor, Image, ImageId, Process, SocketLink};
pub(crate) use self::sockets::Socket;
use super::{Owner, Transport, digest};
use crate::programs::Deputy;

pub(super) fn of(transport: Transport, local: SocketAddr, remote: SocketAddr) -> io::Result<Owner> {
    let sockets = sockets::sending(transport, local, remote)?;
    let own = geteuid();
    let user = common(sockets.iter().map(|socket| socket.user));
    let is_same_user = user == Some(own.as_raw());
    let mut owner = Owner::nobody_known(user, is_same_user);
    if let Some((program, process)) = holder_of(&sockets, is_same_user) {
        owner.workload = Workload::Known(Arc::new(program));
        owner.process = Some(process);
    }
    Ok(owner)
}

/// Returns what the deputy says, where there is one. Whatever keeps it from answering
/// leaves the program unknown.
fn holder_of(sockets: &[Socket], is_same_user: bool) -> Option<(Program, u32)> {
    match Deputy::find() {
        Some(deputy) => deputy.holder_of(sockets).ok()?,
        // Other users' processes cannot be looked into, and need not be.
        None if is_same_user || may_look_into_others() => attribute_patiently(sockets),
        None => None,
    }
}

/// Returns whether this process may look into those of other users: root, or a
/// service that was given the right to. A process of this program never changes it.
pub(crate) fn may_look_into_others() -> bool {
    static MAY: LazyLock<bool> = LazyLock::new(|| {
        let has = |sets: rustix::thread::CapabilitySets| {
            sets.effective.contains(CapabilitySet::SYS_PTRACE)
        };
        geteuid().is_root() || capabilities(None).is_ok_and(has)
    });
    *MAY
}

/// Asks again where there was a doubt: a process that is starting another one shares
/// all its descriptors with it for a moment, and shells move theirs about.
pub(crate) fn attribute_patiently(sockets: &[Socket]) -> Option<(Program, u32)> {
    attribute(sockets).or_else(|| {
        (1..ATTEMPTS).find_map(|_| {
            thread::sleep(PAUSE);
            attribute(sockets)
        })
    })
}

/// Returns the one program that holds `sockets`, and its process.
fn attribute(sockets: &[Socket]) -> Option<(Program, u32)> {
    let processes = process::all().ok()?;
    let holdings: Vec<Holding> = sockets
        .iter()
        .map(|socket| Some(find(*socket, &processes)?.highest()))
        .collect::<Option<_>>()?;
    let holder = &holdings.first()?.process;
    let image = holder.image()?;
    let ancestors: Vec<Process> = iter::successors(holder.parent(), Process::parent)
        .take(Program::MAX_ANCESTORS)
        .collect();

    let is_unchanged = |holding: &Holding| holding.is_unchanged(image.id);
    if !holdings.iter().all(is_unchanged)
        || may_be_shared(&holdings, &ancestors, image.id, &processes)
        || is_left_by_another(&holdings, image.id)
    {
        return None;
    }

    let program = Program {
        user: Some(holder.user()?),
        sha256: sha256(&image)?,
        path: image.path,
        ancestors: ancestors
            .iter()
            .map_while(|ancestor| Some(ancestor.image()?.path))
            .collect(),
    };
    // The same processes held the sockets and ran the executable all the while.
    if !holdings.iter().all(is_unchanged) {
        return None;
    }
    RECENT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .note(holder.pid);
    Some((program, holder.pid))
}

/// A process that holds a socket.
struct Holding {
    process: Process,
    descriptor: Descriptor,
    inode: u32,
    link: SocketLink,
}

impl Holding {
    fn of(process: Process, inode: u32) -> Option<Self> {
        let link = SocketLink::new(inode);
        let descriptor = process.descriptor_of(&[&link]).ok()??;
        Some(Self {
            process,
            descriptor,
            inode,
            link,
        })
    }

    /// Returns the process that the holder has the socket from, if that runs the
    /// same executable and holds it as well.
    fn highest(self) -> Self {
        let image = self.process.image_id();
        let inherited = self
            .process
            .parent()
            .filter(|parent| parent.image_id() == image)
            .and_then(|parent| Self::of(parent, self.inode));
        match inherited {
            Some(parent) => parent.highest(),
            None => self,
        }
    }

    fn is_unchanged(&self, image: ImageId) -> bool {
        self.process.holds_at(self.descriptor, &self.link) && self.process.image_id() == Some(image)
    }
}

/// Finds a process that holds `socket`, in the order of the module's description.
fn find(socket: Socket, processes: &[u32]) -> Option<Holding> {
    let mut newest = processes.iter().rev().copied();
    let first: Vec<u32> = newest.by_ref().take(NEWEST).collect();
    let recent = RECENT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .0
        .clone();

    let mut others = vec![];
    for pid in first.into_iter().chain(recent).chain(newest) {
        let Some(process) = Process::open(pid) else {
            continue;
        };
        if process.keeper() != Some(socket.user) {
            others.push(pid);
        } else if let Some(holding) = Holding::of(process, socket.inode) {
            return Some(holding);
        }
    }
    others
        .into_iter()
        .filter_map(Process::open)
        .find_map(|process| Holding::of(process, socket.inode))
}

/// Returns whether another program than `image` holds a socket too, or whether
/// that cannot be ruled out.
fn may_be_shared(
    holdings: &[Holding],
    ancestors: &[Process],
    image: ImageId,
    processes: &[u32],
) -> bool {
    let links: Vec<&SocketLink> = holdings.iter().map(|holding| &holding.link).collect();
    let holders: BTreeSet<u32> = holdings.iter().map(|holding| holding.process.pid).collect();
    let is_other = |pid: &u32| *pid != 1 && !holders.contains(pid);

    let descendants = descendants(holdings);
    let above = ancestors.iter().map(|ancestor| ancestor.pid);
    let line: BTreeSet<u32> = above
        .chain(descendants.iter().copied())
        .filter(is_other)
        .collect();
    let mut peers = session_peers(&holders, processes);
    peers.retain(|pid| is_other(pid) && !line.contains(pid));
    let usual: Vec<Descriptor> = if peers.len() > MAX_SEARCHED_PEERS {
        let own = holdings.iter().map(|holding| holding.descriptor);
        own.chain(STANDARD_DESCRIPTORS).collect()
    } else {
        vec![]
    };

    let holds = |pid: u32, usual: &[Descriptor]| {
        let Some(process) = Process::open(pid) else {
            return false;
        };
        if usual.is_empty() {
            return process.image_id() != Some(image)
                && process
                    .descriptor_of(&links)
                    .map_or_else(|_| descendants.contains(&pid), |found| found.is_some());
        }
        let is_held =
            |number: &Descriptor| links.iter().any(|link| process.holds_at(*number, link));
        usual.iter().any(is_held) && process.image_id() != Some(image)
    };
    line.iter().any(|pid| holds(*pid, &[])) || peers.iter().any(|pid| holds(*pid, &usual))
}

/// Returns whether a program anywhere on the machine, other than `image`, holds a
/// socket that may have been left to its holder.
fn is_left_by_another(holdings: &[Holding], image: ImageId) -> bool {
    let mut may_be_left = holdings
        .iter()
        .filter(|holding| !holding.process.closes_on_exec(holding.descriptor))
        .peekable();
    if may_be_left.peek().is_none() {
        return false;
    }
    let census = census::beginning_now();
    may_be_left
        .flat_map(|holding| census.holders(holding.inode))
        .filter(|pid| **pid != 1)
        .filter_map(|pid| Process::open(*pid))
        .any(|process| process.image_id() != Some(image))
}

fn session_peers(holders: &BTreeSet<u32>, processes: &[u32]) -> Vec<u32> {
    let sessions: BTreeSet<u32> = holders
        .iter()
        .filter_map(|pid| process::session(*pid))
        .collect();
    let is_peer =
        |pid: &u32| process::session(*pid).is_some_and(|session| sessions.contains(&session));
    processes.iter().copied().filter(is_peer).collect()
}

fn descendants(holdings: &[Holding]) -> BTreeSet<u32> {
    let mut known = BTreeSet::new();
    let mut next: Vec<u32> = holdings
        .iter()
        .flat_map(|holding| holding.process.children())
        .collect();
    while let Some(pid) = next.pop() {
        if known.insert(pid)
            && let Some(process) = Process::open(pid)
        {
            next.extend(process.children());
        }
    }
    known
}

/// Returns the executable's hash, or that it cannot have one; nothing if it could
/// not be read this time.
fn sha256(image: &Image) -> Option<Option<String>> {
    let Some(file) = &image.file else {
        return Some(None);
    };
    let sha256 = digest::of(file, image.state).ok()?;
    (process::file_state(&rustix::fs::fstat(file).ok()?) == image.state).then_some(sha256)
}

fn common<T: PartialEq>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// Processes that held the latest sockets, the latest first: hints of where to
/// look, whatever has become of them.
static RECENT: Mutex<Recent> = Mutex::new(Recent(VecDeque::new()));

struct Recent(VecDeque<u32>);

impl Recent {
    fn note(&mut self, pid: u32) {
        self.0.retain(|known| *known != pid);
        self.0.truncate(MAX_RECENT - 1);
        self.0.push_front(pid);
    }
}

/// Peers up to this number are looked through as a whole: some 40 µs each.
const MAX_SEARCHED_PEERS: usize = 16;

/// Where shells and service supervisors put what they pass on.
const STANDARD_DESCRIPTORS: [Descriptor; 3] = [0, 1, 2];

/// How often a doubt is looked into. Starting a program takes less than a pause.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(1);

/// A program that was just started opens the flow more often than not.
const NEWEST: usize = 4;

/// About as many programs as a person uses at a time.
const MAX_RECENT: usize = 6;

#[cfg(test)]
mod tests;
