//! Measures the device on a thread of its own.

use std::io;
use std::sync::mpsc;
use std::thread;

use connector_core::connector::Event;
use connector_core::posture::{Check, Finding, Measurement, Platform};
use connector_platform::{clock, programs};
use posture::{Machine, Prober, ScreenLock, ScreenLocks, Tables};

use super::Events;

/// Measures what it is asked to, one batch after the other.
#[derive(Debug)]
pub(crate) struct Measuring(mpsc::Sender<Vec<Check>>);

impl Measuring {
    pub(crate) fn start(events: Events) -> io::Result<Self> {
        let (sender, batches) = mpsc::channel();
        thread::Builder::new()
            .name("posture".into())
            .spawn(move || measure_batches(&batches, &events))?;
        Ok(Self(sender))
    }

    /// Measures `checks`; the findings come as an event.
    pub(crate) fn measure(&self, checks: Vec<Check>) {
        if self.0.send(checks).is_err() {
            tracing::error!("The measuring thread has ended; findings will lapse");
        }
    }
}

fn measure_batches(batches: &mpsc::Receiver<Vec<Check>>, events: &Events) {
    let machine = Machine::local()
        .with_executables(programs::executable_of)
        .with_screen_locks(told_screen_locks);
    let mut prober = match Tables::open(machine) {
        Ok(tables) => Some(Prober::new(tables)),
        Err(error) => {
            tracing::error!(%error, "The built-in tables cannot be opened");
            None
        }
    };
    let platform = Platform::from_os(std::env::consts::OS);
    while let Ok(checks) = batches.recv() {
        let measured = checks
            .into_iter()
            .map(|check| {
                let now = clock::moment();
                let measurement = match (&mut prober, platform) {
                    (Some(prober), Some(platform)) => prober.measure(&check, platform, now),
                    (Some(_) | None, Some(_) | None) => unmeasurable(now),
                };
                (check, measurement)
            })
            .collect::<Vec<(Check, Measurement)>>();
        if events
            .blocking_send(Event::PostureMeasured(measured))
            .is_err()
        {
            return;
        }
    }
}

/// What somebody else says of screens, where this service may not read people's settings.
fn told_screen_locks() -> io::Result<Option<ScreenLocks>> {
    let ours = |lock: programs::ScreenLock| ScreenLock {
        is_enabled: lock.is_enabled,
        grace_seconds: lock.grace_seconds,
    };
    let told = programs::screen_locks()?;
    Ok(told.map(|locks| locks.into_iter().map(|lock| lock.map(ours)).collect()))
}

/// Reads people's settings for a service that may not.
pub(crate) fn read_screen_locks() -> io::Result<programs::ScreenLocks> {
    let theirs = |lock: ScreenLock| programs::ScreenLock {
        is_enabled: lock.is_enabled,
        grace_seconds: lock.grace_seconds,
    };
    let read = Machine::local().read_screen_locks()?;
    Ok(read.into_iter().map(|lock| lock.map(theirs)).collect())
}

fn unmeasurable(taken_at: connector_core::time::Moment) -> Measurement {
    Measurement {
        finding: Finding::Unknown,
        evidence: "This system cannot be measured.".into(),
        taken_at,
    }
}
