//! Captures that can be believed: each has seen what it is there for before its silence counts.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::process::Running;
use crate::scene::{Scene, kit};
use crate::wait::{DEADLINE, until};
use crate::world::{PUBLIC, in_space};

/// A capture on an interface.
#[derive(Debug)]
pub struct Capture {
    running: Running,
    needles: Vec<String>,
    /// What it had found when it was last emptied.
    before: usize,
}

impl Capture {
    /// Starts to look for `needles` on an interface of a namespace, or of the laptop.
    #[must_use]
    pub fn start(scene: &Scene, space: Option<&str>, interface: &str, needles: &[&str]) -> Self {
        let mut command = space.map_or_else(|| Command::new(kit()), |space| in_space(space, kit()));
        command
            .args(["capture", interface])
            .args(needles)
            .arg(MARKER);
        let name = scene.fresh("capture");
        let name = name.file_name().unwrap_or_default().to_string_lossy();
        let mut running = Running::start(scene, &name, &mut command);
        let _ready = running.first_line(DEADLINE);
        Self {
            running,
            needles: needles.iter().map(|needle| (*needle).to_owned()).collect(),
            before: 0,
        }
    }

    /// Returns the frames that were found since the last time, but for markers.
    #[must_use]
    pub fn found(&self) -> Vec<Value> {
        self.all().split_off(self.before)
    }

    /// Forgets what was found.
    pub fn forget(&mut self) {
        self.before = self.all().len();
    }

    /// Waits until each needle has been found in a frame: the positive control. Then forgets.
    ///
    /// # Panics
    ///
    /// If one was not.
    pub fn expect_all(&mut self) {
        for needle in self.needles.clone() {
            until(&format!("the capture to find {needle}"), DEADLINE, || {
                self.found()
                    .iter()
                    .any(|found| found["needle"] == needle)
                    .then_some(())
            });
        }
        self.forget();
    }

    /// Checks that nothing was found since the last time. What has left the laptop before this call has been seen: a
    /// marker goes the same way behind it.
    ///
    /// # Panics
    ///
    /// If something was found, or the marker was not.
    #[track_caller]
    pub fn expect_nothing(&mut self, when: &str) {
        self.wait_for_marker();
        let found = self.found();
        assert!(
            found.is_empty(),
            "{when}: {} frames, the first: {:#}",
            found.len(),
            found[0]
        );
    }

    /// Checks that none of these was found since the last time, as [`Self::expect_nothing`] does.
    ///
    /// # Panics
    ///
    /// If one was.
    #[track_caller]
    pub fn expect_nothing_of(&mut self, needles: &[&str]) {
        self.wait_for_marker();
        let found = self.found();
        let unwanted = found
            .iter()
            .find(|found| needles.iter().any(|needle| found["needle"] == *needle));
        assert!(unwanted.is_none(), "{unwanted:#?}");
    }

    /// Waits until it has seen all that left before this call.
    pub fn wait_for_marker(&self) {
        let marker = format!("e2e-marker-{:08}", fresh_number());
        let hex: String = marker.bytes().map(|byte| format!("{byte:02x}")).collect();
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a UDP socket");
        until("the capture to find the marker", DEADLINE, || {
            // A lossy link loses markers as well; the way out may be gone for a moment.
            let _unsent = socket.send_to(marker.as_bytes(), (PUBLIC, 9));
            std::thread::park_timeout(std::time::Duration::from_millis(5));
            self.running.out().contains(&hex).then_some(())
        });
    }

    /// Returns how often and when the needle was found since the beginning, whatever was forgotten; `None` if never.
    ///
    /// # Panics
    ///
    /// If the capture has ended.
    pub fn matches(&mut self, needle: &str) -> Option<Matches> {
        let order = format!("matches {}", fresh_number());
        let _line = self.running.ask(&order);
        // Reports of frames may stand before the answer.
        let answer = until("the capture's matches", DEADLINE, || {
            let out = self.running.out();
            let mut lines = out
                .lines()
                .rev()
                .filter_map(|line| serde_json::from_str(line).ok());
            lines.find(|line: &Value| line["order"] == order)
        });
        let found = &answer["matches"][needle];
        Some(Matches {
            count: found["count"].as_u64()?,
            first: found["first"].as_f64()?,
            last: found["last"].as_f64()?,
        })
    }

    fn all(&self) -> Vec<Value> {
        let out = self.running.out();
        let lines = out
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &Value| line["needle"].is_string() && line["needle"] != MARKER)
            .collect()
    }
}

fn fresh_number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// The frames in which a needle was found. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matches {
    /// How many.
    pub count: u64,
    /// When the kernel saw the first.
    pub first: f64,
    /// When the kernel saw the last.
    pub last: f64,
}

const MARKER: &str = "text=e2e-marker-";
