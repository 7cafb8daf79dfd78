//! The decision log's files: read by the service that writes them, and by
//! whoever verifies them without it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use connector_core::audit::chain::Entry;
use connector_core::audit::verification::Verifier;
pub use connector_core::audit::verification::{Expected, Flaw, Gap, Place, Report};
pub use connector_core::jws::PublicKey;

/// Where a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// All that is kept of it, in the directory that the service writes to.
    Directory(PathBuf),
    /// In these files, the oldest first.
    Files(Vec<PathBuf>),
}

impl Source {
    fn open(&self) -> Result<Vec<(PathBuf, File)>, LogError> {
        let paths = match self {
            Self::Directory(dir) => {
                let opened = open(dir)?;
                if opened.is_empty() {
                    let missing = io::Error::new(io::ErrorKind::NotFound, "there is no such file");
                    return Err(LogError::new(&dir.join(LOG), missing));
                }
                return Ok(opened
                    .into_iter()
                    .map(|opened| (opened.path, opened.file))
                    .collect());
            }
            Self::Files(paths) => paths,
        };
        paths
            .iter()
            .map(|path| match File::open(path) {
                Ok(file) => Ok((path.clone(), file)),
                Err(error) => Err(LogError::new(path, error)),
            })
            .collect()
    }
}

/// A file of the log.
#[derive(Debug)]
pub struct Opened {
    /// Where it was found.
    pub path: PathBuf,
    /// The file, at its beginning.
    pub file: File,
    /// Its first record that can be read.
    pub first: Option<Entry>,
}

/// Opens the files of the log in `dir` and returns them, the oldest first.
///
/// The newest is opened first: one that is set aside meanwhile is then met again under its
/// next name, and not passed over.
///
/// # Errors
///
/// If one that is there cannot be read.
pub fn open(dir: &Path) -> Result<Vec<Opened>, LogError> {
    let mut opened: Vec<Opened> = Vec::new();
    let names = [LOG.to_owned()]
        .into_iter()
        .chain((1..=ROTATED).map(rotated));
    for path in names.map(|name| dir.join(name)) {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LogError::new(&path, error)),
        };
        let first = first_of(&file).map_err(|error| LogError::new(&path, error))?;
        if first.is_none() || opened.last().is_none_or(|newer| newer.first != first) {
            opened.push(Opened { path, file, first });
        }
    }
    opened.reverse();
    Ok(opened)
}

/// Returns the first record that can be read, and goes back to the beginning.
fn first_of(mut file: &File) -> io::Result<Option<Entry>> {
    let mut lines = Lines::new(file);
    let mut found = None;
    while found.is_none()
        && let Some(line) = lines.next()?
    {
        if let Line::Read(line) = line
            && line.ends_with(b"\n")
        {
            found = Entry::parse(line).ok();
        }
    }
    file.rewind()?;
    Ok(found)
}

/// Returns the name of the file that was set aside `age` rotations ago.
#[must_use]
pub fn rotated(age: u32) -> String {
    format!("{LOG}.{age}")
}

/// Verifies a log.
///
/// # Errors
///
/// [`LogError`] if a file cannot be read; what is wrong with its content is in the report.
pub fn verify(source: &Source, expected: Expected) -> Result<Report, LogError> {
    let mut verifier = Verifier::new(expected);
    each_line(source, |place, line| {
        match line {
            Line::Read(line) => verifier.line(place, line),
            Line::TooLong => verifier.too_long(place),
        }
        Ok(())
    })?;
    Ok(verifier.finish())
}

/// Gives every whole line of a log to `write`, the oldest first.
///
/// # Errors
///
/// [`LogError`] if a file cannot be read; whatever `write` fails with.
pub fn export<E: From<LogError>>(
    source: &Source,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut outcome = Ok(());
    each_line(source, |_, line| {
        if let Line::Read(line) = line
            && line.ends_with(b"\n")
        {
            outcome = write(line);
        }
        if outcome.is_ok() { Ok(()) } else { Err(()) }
    })?;
    outcome
}

/// Reads checkpoints that were kept elsewhere: a file of lines as they are in the log.
///
/// # Errors
///
/// [`LogError`] if the file cannot be read, or a line is no record.
pub fn anchors(path: &Path) -> Result<Vec<Entry>, LogError> {
    let wrap = |problem| LogError::new(path, problem);
    let mut lines = Lines::new(File::open(path).map_err(wrap)?);
    let mut anchors = Vec::new();
    while let Some(line) = lines.next().map_err(wrap)? {
        let Line::Read(line) = line else {
            return Err(wrap(io::Error::other("a line is too long")));
        };
        let mut line = line.to_vec();
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        let entry = Entry::parse(&line)
            .map_err(|error| wrap(io::Error::other(format!("no checkpoint: {error}"))))?;
        anchors.push(entry);
    }
    Ok(anchors)
}

/// Returns the first and the last record of a file that can be read, if there are any.
///
/// # Errors
///
/// If the file cannot be read.
pub fn ends(path: &Path) -> io::Result<Option<(Entry, Entry)>> {
    let mut file = File::open(path)?;
    let Some(first) = first_of(&file)? else {
        return Ok(None);
    };
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_LINE * 2)))?;
    let mut end = Vec::new();
    file.take(MAX_LINE * 2).read_to_end(&mut end)?;
    let last = end
        .split_inclusive(|byte| *byte == b'\n')
        .rev()
        .find_map(|line| Entry::parse(line).ok().filter(|_| line.ends_with(b"\n")));
    Ok(Some((first.clone(), last.unwrap_or(first))))
}

/// The lines of a file, each bounded.
#[derive(Debug)]
pub struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    read: u64,
}

/// A line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// The line, with its line break if it has one.
    Read(&'a [u8]),
    /// More than [`MAX_LINE`] bytes, which were passed over.
    TooLong,
}

impl<R: Read> Lines<R> {
    /// Reads lines from where `reader` stands.
    pub fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            line: Vec::new(),
            read: 0,
        }
    }

    /// Returns how many bytes the lines so far have.
    #[must_use]
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// Returns the next line.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "a line is lent, which iterators cannot do"
    )]
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(MAX_LINE);
        let read = limited.read_until(b'\n', &mut self.line)? as u64;
        self.read += read;
        if read == 0 {
            return Ok(None);
        }
        if read < MAX_LINE || self.line.ends_with(b"\n") {
            return Ok(Some(Line::Read(&self.line)));
        }
        loop {
            self.line.clear();
            let mut limited = (&mut self.reader).take(MAX_LINE);
            let more = limited.read_until(b'\n', &mut self.line)? as u64;
            self.read += more;
            if more == 0 || self.line.ends_with(b"\n") {
                return Ok(Some(Line::TooLong));
            }
        }
    }
}

/// A file of the log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {problem}", path.display())]
pub struct LogError {
    path: PathBuf,
    /// Why not.
    pub problem: io::Error,
}

impl LogError {
    fn new(path: &Path, problem: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            problem,
        }
    }
}

/// Goes through the lines until `take` has enough.
fn each_line(
    source: &Source,
    mut take: impl FnMut(Place, Line<'_>) -> Result<(), ()>,
) -> Result<(), LogError> {
    for (path, file) in source.open()? {
        let name: Arc<str> = path.display().to_string().into();
        let mut lines = Lines::new(file);
        let mut number = 0;
        while let Some(line) = lines.next().map_err(|error| LogError::new(&path, error))? {
            number += 1;
            let place = Place {
                file: Arc::clone(&name),
                line: number,
            };
            if take(place, line).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The file that is written.
pub const LOG: &str = "decisions.jsonl";

/// In the state directory: the latest checkpoint, as it is in the log.
pub const ANCHOR: &str = "decisions.checkpoint";

/// How many full files are kept beside the one that is written.
pub const ROTATED: u32 = 5;

/// The longest line, in bytes: a record with the longest names, paths and ancestors stays well below.
pub const MAX_LINE: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_the_next_one_is_read_again() {
        let long = usize::try_from(MAX_LINE).unwrap() * 2 + 5;
        let text = format!("one\n{}\ntwo", "x".repeat(long));
        let mut lines = Lines::new(text.as_bytes());

        assert_eq!(lines.next().unwrap(), Some(Line::Read(b"one\n")));
        assert_eq!(lines.next().unwrap(), Some(Line::TooLong));
        assert_eq!(lines.next().unwrap(), Some(Line::Read(b"two")));
        assert_eq!(lines.next().unwrap(), None);
        assert_eq!(lines.read(), text.len() as u64);
    }

    #[test]
    fn files_come_oldest_first_whichever_are_there() {
        let root = tempfile::tempdir().unwrap();
        for name in [LOG, "decisions.jsonl.1", "decisions.jsonl.3", "other"] {
            std::fs::write(root.path().join(name), "").unwrap();
        }

        let names: Vec<_> = open(root.path())
            .unwrap()
            .into_iter()
            .map(|opened| opened.path.file_name().unwrap().to_owned())
            .collect();

        assert_eq!(names, ["decisions.jsonl.3", "decisions.jsonl.1", LOG]);
    }

    #[test]
    fn a_file_that_is_met_twice_while_it_is_set_aside_counts_once() {
        let root = tempfile::tempdir().unwrap();
        let line = |sequence: u64| {
            let hash = "0".repeat(64);
            let log = "AAAAAAAAAAAAAAAAAAAAAA";
            format!(
                r#"{{"metadata":{{"sequence":{sequence}}},"unmapped":{{"chain":{{"log":"{log}","previous":"{hash}"}}}}}}"#
            ) + "\n"
        };
        for (name, sequence) in [(LOG, 2), ("decisions.jsonl.1", 2), ("decisions.jsonl.2", 1)] {
            std::fs::write(root.path().join(name), line(sequence)).unwrap();
        }

        let firsts: Vec<u64> = open(root.path())
            .unwrap()
            .iter()
            .map(|opened| opened.first.as_ref().unwrap().link.sequence)
            .collect();

        assert_eq!(firsts, [1, 2]);
    }

    #[test]
    fn whole_lines_are_exported_in_order() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("decisions.jsonl.1"), "1\n2\n").unwrap();
        std::fs::write(root.path().join(LOG), "3\ntorn").unwrap();
        let source = Source::Directory(root.path().to_owned());
        let mut seen = Vec::new();

        export(&source, |line| {
            seen.extend_from_slice(line);
            Ok::<(), LogError>(())
        })
        .unwrap();

        assert_eq!(seen, b"1\n2\n3\n");
    }

    #[test]
    fn what_is_no_log_is_told_as_such() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        std::fs::write(&path, "{}\n[]\nnull\n\u{0}\n").unwrap();

        let report = verify(&Source::Files(vec![path.clone()]), Expected::default()).unwrap();

        assert_eq!(report.flaws.len(), 4);
        assert!(report.flaws[1].to_string().contains("x:2: "));
        assert!(ends(&path).unwrap().is_none());
        assert!(anchors(&path).is_err());
        assert!(
            verify(
                &Source::Directory(root.path().join("none")),
                Expected::default()
            )
            .is_err()
        );
    }
}
