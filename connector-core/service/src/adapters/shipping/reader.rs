//! Reads batches of lines from the log's files, wherever they are rotated to.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;

use connector_core::audit::chain::{Entry, LogId};
use connector_platform::decision_log::{self, Line, Lines};

/// Lines that follow on each other, as they are in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) log: LogId,
    /// The number that they follow on; what is between it and the first is gone.
    pub(super) after: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) lines: Vec<u8>,
    /// Whether nothing that was written is left.
    pub(super) is_all: bool,
}

/// Remembers where it was, so that each batch does not read all that came before.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
    position: Option<Position>,
}

/// Where a line begins, in the file whose first line has the number `file`.
#[derive(Debug, Clone, Copy)]
struct Position {
    file: u64,
    offset: u64,
    next: u64,
}

impl Reader {
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            position: None,
        }
    }

    /// Returns the lines after `after`, up to `through` and to about `limit` bytes; none if
    /// nothing of them is there any more. Lines beyond `through` may still be taken back.
    pub(super) fn read(
        &mut self,
        log: &LogId,
        after: u64,
        through: u64,
        limit: usize,
    ) -> io::Result<Option<Batch>> {
        let opened = decision_log::open(&self.dir).map_err(io::Error::other)?;
        let begins: Vec<(u64, File)> = opened
            .into_iter()
            .filter_map(|opened| Some((opened.first?.link.sequence, opened.file)))
            .collect();
        let holding = begins.iter().rposition(|(first, _)| *first <= after + 1);
        let mut batch = Batch {
            log: log.clone(),
            after,
            first: 0,
            last: after,
            lines: Vec::new(),
            is_all: false,
        };
        for (number, file) in begins.into_iter().skip(holding.unwrap_or(0)) {
            let is_full = self.read_file(number, file, through, limit, &mut batch)?;
            if is_full {
                break;
            }
        }
        batch.is_all = batch.last >= through;
        Ok((batch.first > 0).then_some(batch))
    }

    /// Adds the lines of one file, and returns whether there is no more to be added.
    fn read_file(
        &mut self,
        file: u64,
        mut reader: File,
        through: u64,
        limit: usize,
        batch: &mut Batch,
    ) -> io::Result<bool> {
        let known = self
            .position
            .filter(|known| known.file == file && known.next == batch.last + 1);
        let start = known.map_or(0, |known| known.offset);
        reader.seek(SeekFrom::Start(start))?;
        let mut lines = Lines::new(reader);
        loop {
            let before = start + lines.read();
            let Some(line) = lines.next()? else {
                return Ok(false);
            };
            let Line::Read(line) = line else { continue };
            if !line.ends_with(b"\n") {
                return Ok(false);
            }
            let Ok(entry) = Entry::parse(line) else {
                continue;
            };
            let sequence = entry.link.sequence;
            if entry.link.log != batch.log || sequence <= batch.last {
                continue;
            }
            let is_next = batch.first == 0 || sequence == batch.last + 1;
            let fits = batch.first == 0 || batch.lines.len() + line.len() <= limit;
            if !is_next || !fits || sequence > through {
                self.position = Some(Position {
                    file,
                    offset: before,
                    next: sequence,
                });
                return Ok(true);
            }
            if batch.first == 0 {
                batch.first = sequence;
            }
            batch.last = sequence;
            batch.lines.extend_from_slice(line);
            let length = line.len() as u64;
            self.position = Some(Position {
                file,
                offset: before + length,
                next: sequence + 1,
            });
        }
    }
}
