//! `ztna service`: the service as the operating system knows it.
//!
//! It speaks to the system, not to the service, which need not run; nothing can be asked of
//! a running service that would start or replace a program.

use std::env::consts::EXE_SUFFIX;

use connector_platform::registration::{Registration, Standing};
use serde_json::{Value, json};

use crate::command::ServiceVerb;
use crate::exit::{Exit, Failure};
use crate::output::Printer;

/// Does what was asked for.
pub(crate) fn run(verb: ServiceVerb, printer: &Printer) -> Result<Exit, Failure> {
    let own = std::env::current_exe().map_err(|error| {
        Failure::Input(format!("this command does not know its place: {error}"))
    })?;
    let registration = Registration::of(&own.with_file_name(format!("ztnad{EXE_SUFFIX}")))?;
    let told = match verb {
        ServiceVerb::Install => {
            registration.install()?;
            "The service is installed and starts at each boot; `ztna service start` starts it now.\n"
        }
        ServiceVerb::Start => {
            registration.start()?;
            "The service runs.\n"
        }
        ServiceVerb::Status(format) => {
            let standing = registration.standing()?;
            match format.json {
                true => printer.json(SCHEMA, describe(standing))?,
                false => printer.print(render(standing))?,
            }
            return Ok(match standing.is_running {
                true => Exit::Success,
                false => Exit::NotRunning,
            });
        }
        ServiceVerb::Stop => {
            registration.stop()?;
            "The service is stopped, until the next boot.\n"
        }
        ServiceVerb::Uninstall => {
            registration.uninstall()?;
            "The service is gone; its keys, state and settings are still there.\n"
        }
    };
    printer.print(told)?;
    Ok(Exit::Success)
}

fn describe(standing: Standing) -> Value {
    json!({
        "installed": standing.is_installed,
        "running": standing.is_running,
        "starts_at_boot": standing.starts_at_boot,
    })
}

fn render(standing: Standing) -> &'static str {
    match (
        standing.is_installed,
        standing.is_running,
        standing.starts_at_boot,
    ) {
        (false, _, _) => "The service is not installed; `sudo ztna service install` does that.\n",
        (true, true, true) => "The service runs, and starts at each boot.\n",
        (true, true, false) => "The service runs, and does not start at boot.\n",
        (true, false, true) => {
            "The service does not run, and starts at the next boot; `sudo ztna service start` starts it now.\n"
        }
        (true, false, false) => {
            "The service does not run, and does not start at boot; `sudo ztna service start` starts it.\n"
        }
    }
}

const SCHEMA: &str = "ztna.service/1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_run_says_how_to_start_it() {
        let of = |is_installed, is_running, starts_at_boot| {
            render(Standing {
                is_installed,
                is_running,
                starts_at_boot,
            })
        };

        assert!(of(false, false, false).contains("ztna service install"));
        assert!(of(true, false, true).contains("ztna service start"));
        assert!(of(true, false, false).contains("ztna service start"));
        assert!(!of(true, true, true).contains("sudo"));
    }
}
