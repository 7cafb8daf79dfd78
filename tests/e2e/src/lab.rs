//! The lab as a process, and its levers.

use std::process::Command;

use serde_json::Value;

use crate::curl::ask;
use crate::process::Running;
use crate::scene::{Scene, program};
use crate::wait::DEADLINE;

/// A running `ztna-lab`.
#[derive(Debug)]
pub struct Lab {
    /// The process.
    pub process: Running,
    ready: Value,
}

impl Lab {
    /// Starts the built-in company.
    #[must_use]
    pub fn start(scene: &Scene) -> Self {
        Self::start_with(scene, "lab", &[])
    }

    /// Starts a company with `options`; its output goes to `NAME.out`.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[must_use]
    pub fn start_with(scene: &Scene, name: &str, options: &[&str]) -> Self {
        let mut command = Command::new(program("ztna-lab"));
        command.arg("--end-with-stdin").args(options);
        let mut process = Running::start(scene, name, &mut command);
        let line = process.first_line(DEADLINE);
        let ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the lab's first line: {error}: {line}"));
        Self { process, ready }
    }

    /// Returns a member of the line that it began with.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn ready(&self, member: &str) -> &str {
        let found = self.ready[member].as_str();
        found.unwrap_or_else(|| panic!("the lab says no {member}: {}", self.ready))
    }

    /// Pulls a lever.
    pub fn pull(&self, lever: &str, body: &Value) -> Value {
        let url = format!("{}lab/{lever}", self.ready("admin"));
        let answer = ask("POST", &url, Some(&body.to_string()));
        serde_json::from_str(&answer).unwrap_or_default()
    }

    /// Reads what the lab knows about itself.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    #[must_use]
    pub fn look(&self, what: &str) -> Value {
        let url = format!("{}lab/{what}", self.ready("admin"));
        let answer = ask("GET", &url, None);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{what}: {error}: {answer}"))
    }
}
