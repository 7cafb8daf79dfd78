//! Where log lines go: standard error, as text or JSON, and the system's log of events, where
//! nobody reads that; the latest are kept for whoever asks.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use connector_platform::event_log::{self, Kind, Severity};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::settings::{LogFormat, Settings};

/// Starts writing log lines; returns the latest.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<(LatestLines, LogSwitch)> {
    let latest = LatestLines::default();
    let (lines, format) = reload::Layer::new(lines(settings.log_format, latest.clone()));
    let (filter, level) = reload::Layer::new(filter(&settings.log_level)?);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    let handles = Handles {
        format,
        level: Box::new(move |filter| level.reload(filter)),
        latest: latest.clone(),
    };
    Ok((latest, LogSwitch(Some(Arc::new(handles)))))
}

fn filter(level: &str) -> anyhow::Result<Targets> {
    level.parse::<Targets>().with_context(|| {
        format!(
            "Failed to read the log filter {level:?}; write a level such as info, or target=level"
        )
    })
}

fn lines(format: LogFormat, latest: LatestLines) -> Lines {
    let layer = tracing_subscriber::fmt::layer().with_writer(latest);
    match format {
        LogFormat::Json => layer.json().boxed(),
        LogFormat::Text => layer.with_ansi(false).boxed(),
    }
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// Tells why the service ended, whether or not log lines are being written yet.
#[expect(clippy::print_stderr, reason = "the log may not have been started")]
pub(crate) fn report(error: &anyhow::Error) {
    eprintln!("ztnad: {error:#}");
    event_log::write(Kind::Service, Severity::Error, || {
        format!("{error:#}").into()
    });
}

/// Changes which lines are written from now on, and how; every copy changes the same.
#[derive(Clone, Default)]
pub(crate) struct LogSwitch(Option<Arc<Handles>>);

struct Handles {
    format: reload::Handle<Lines, Registry>,
    level: Box<SetLevel>,
    latest: LatestLines,
}

type SetLevel = dyn Fn(Targets) -> Result<(), reload::Error> + Send + Sync;

impl LogSwitch {
    /// Writes the lines that `level` names, as in `info` or `target=level`.
    pub(crate) fn set_level(&self, level: &str) -> anyhow::Result<()> {
        let filter = filter(level)?;
        match &self.0 {
            Some(handles) => Ok((handles.level)(filter)?),
            None => Ok(()),
        }
    }

    /// Writes lines in another format. Only while no span is open: it could not be written in both.
    pub(crate) fn set_format(&self, format: LogFormat) -> anyhow::Result<()> {
        match &self.0 {
            Some(handles) => Ok(handles
                .format
                .reload(lines(format, handles.latest.clone()))?),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for LogSwitch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogSwitch")
    }
}

/// The latest log lines, in bounded memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatestLines(Arc<Mutex<VecDeque<String>>>);

impl LatestLines {
    /// Returns the lines, the oldest first.
    pub(crate) fn all(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    fn keep(&self, line: &[u8]) {
        let line = &line[..line.len().min(LONGEST)];
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl<'a> MakeWriter<'a> for LatestLines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            latest: self,
            severity: Severity::Information,
        }
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Self::Writer {
        Line {
            latest: self,
            severity: match *line.level() {
                Level::ERROR => Severity::Error,
                Level::WARN => Severity::Warning,
                _ => Severity::Information,
            },
        }
    }
}

/// Writes one log line, which comes in one piece.
pub(crate) struct Line<'a> {
    latest: &'a LatestLines,
    severity: Severity,
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.latest.keep(bytes);
        event_log::write(Kind::Service, self.severity, || {
            String::from_utf8_lossy(bytes)
        });
        io::Write::write_all(&mut io::stderr(), bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::Write::flush(&mut io::stderr())
    }
}

/// How many lines are kept, and how many bytes of each: half a megabyte at most.
const KEPT: usize = 500;
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_lines_are_kept_and_no_more() {
        let latest = LatestLines::default();
        for number in 0..KEPT + 10 {
            latest.keep(format!("line {number}\n").as_bytes());
        }
        latest.keep(&[b'x'; 10_000]);

        let lines = latest.all();

        assert_eq!(lines.len(), KEPT);
        assert_eq!(lines[0], "line 11");
        assert_eq!(lines[KEPT - 1].len(), LONGEST);
    }
}
