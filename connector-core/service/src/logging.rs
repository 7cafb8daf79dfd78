//! Where log lines go: standard error, as text or JSON, and the system's log of events, where
//! nobody reads that; the latest are kept for whoever asks.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use connector_platform::event_log::{self, Kind, Severity};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::{LogFormat, Settings};

/// Starts writing log lines; returns the latest.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<(LatestLines, LevelSwitch)> {
    let filter = EnvFilter::try_new(&settings.log_level).with_context(|| {
        format!(
            "Failed to read the log filter {:?}; write a level such as info, or target=level",
            settings.log_level
        )
    })?;
    let latest = LatestLines::default();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(latest.clone());
    let level = match settings.log_format {
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            LevelSwitch::new(move |filter| handle.reload(filter))
        }
        LogFormat::Text => {
            let builder = builder.with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            LevelSwitch::new(move |filter| handle.reload(filter))
        }
    };
    Ok((latest, level))
}

/// Tells why the service ended, whether or not log lines are being written yet.
#[expect(clippy::print_stderr, reason = "the log may not have been started")]
pub(crate) fn report(error: &anyhow::Error) {
    eprintln!("ztnad: {error:#}");
    event_log::write(Kind::Service, Severity::Error, || {
        format!("{error:#}").into()
    });
}

/// Changes which lines are written from now on.
#[derive(Default)]
pub(crate) struct LevelSwitch(Option<Box<Reload>>);

type Reload = dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync;

impl LevelSwitch {
    fn new(
        reload: impl Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Some(Box::new(reload)))
    }

    /// Writes the lines that `level` names, as in `info` or `target=level`.
    pub(crate) fn set(&self, level: &str) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(level)?;
        match &self.0 {
            Some(reload) => Ok(reload(filter)?),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for LevelSwitch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LevelSwitch")
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
