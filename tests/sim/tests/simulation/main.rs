//! Thousands of random steps through the router, the gateways and the core, with
//! time and network of their own. After each step the world is held against a
//! model that knows nothing of how any of it works:
//!
//! - nothing is sent to a site, or delivered from one, without a live permit;
//! - what is denied is recorded;
//! - what is revoked is silent at once;
//! - in the end every counter is back at zero.
//!
//! Each run prints its seed; `SIM_SEED=… cargo test -p sim` repeats one, and
//! `SIM_RUNS` sets how many there are.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "it is a test")]

mod model;
mod world;

use std::panic::AssertUnwindSafe;

use self::world::World;

#[test]
fn no_sequence_of_events_lets_a_packet_through_that_the_policy_does_not_permit() {
    let runs = number("SIM_RUNS").unwrap_or(RUNS);
    let first = number("SIM_SEED");
    for run in 0..first.map_or(runs, |_| 1) {
        let seed = first.unwrap_or(0x5eed_0000 + run);
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| simulate(seed)));
        if let Err(panic) = outcome {
            eprintln!("this run failed; repeat it with SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_run_that_lets_everything_through_would_be_noticed() {
    let found = std::panic::catch_unwind(|| {
        let mut world = World::new(1);
        world.model.deny_everything_silently();
        for _ in 0..STEPS {
            world.step();
        }
    });

    assert!(found.is_err(), "the model saw nothing wrong");
}

fn simulate(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.wind_down();
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

const RUNS: u64 = 60;
const STEPS: usize = 300;
