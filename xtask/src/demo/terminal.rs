//! What the demo prints.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::bail;

/// Where the story is told.
pub(super) struct Terminal {
    interactive: bool,
    colour: bool,
}

impl Terminal {
    pub(super) fn new() -> Self {
        let interactive = std::io::stdout().is_terminal();
        Self {
            interactive,
            colour: interactive && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    pub(super) fn title(&self, text: &str) {
        self.line(&format!("\n{}\n", self.paint("1", text)));
    }

    pub(super) fn step(&self, number: u8, text: &str) {
        self.line(&format!(
            "\n{} {}",
            self.paint("1;36", &number.to_string()),
            self.paint("1", text)
        ));
    }

    pub(super) fn done(&self, text: &str) {
        self.line(&format!("  {} {text}", self.paint("32", "✓")));
    }

    pub(super) fn fail(&self, text: &str) {
        self.line(&format!("  {} {text}", self.paint("31", "✗")));
    }

    pub(super) fn note(&self, text: &str) {
        self.line(&format!("  {}", self.paint("2", text)));
    }

    /// Shows a command as a person would type it.
    pub(super) fn command(&self, text: &str) {
        self.line(&format!("  {}", self.paint("36", &format!("$ {text}"))));
    }

    /// Shows what a program printed, indented.
    pub(super) fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(&format!("    {line}"));
        }
    }

    /// Asks `done` again and again until it has an answer, showing that time passes.
    pub(super) fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let mut shown = false;
        loop {
            if let Some(answer) = done()? {
                if shown {
                    self.write("\r\x1b[2K");
                }
                return Ok(answer);
            }
            let waited = started.elapsed();
            if waited > limit {
                bail!("{what}: not within {} s", limit.as_secs());
            }
            if self.interactive && waited > PATIENCE {
                let turn = usize::try_from(waited.as_millis() / 100).unwrap_or(0) % SPINNER.len();
                self.write(&format!(
                    "\r  {} {what} … {:.1} s",
                    SPINNER[turn],
                    waited.as_secs_f32()
                ));
                shown = true;
            }
            std::thread::sleep(POLL);
        }
    }

    pub(super) fn line(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    fn write(&self, text: &str) {
        // A reader that went away does not change what is shown to hold.
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes());
        let _ = stdout.flush();
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

const SPINNER: [char; 4] = ['◐', '◓', '◑', '◒'];

/// What takes less needs no display.
const PATIENCE: Duration = Duration::from_millis(300);

const POLL: Duration = Duration::from_millis(10);
