//! `ztna repair`: undoes what a service that is no longer running left behind.

use connector_platform::instance::{ClaimError, Instance};
use connector_platform::paths::{self, Paths};
use connector_platform::private::PrivateDir;
use connector_platform::{rights, steering};
use serde_json::json;

use crate::command::RepairArgs;
use crate::exit::{Exit, Failure};
use crate::output::Printer;

/// Undoes it, or only tells what would be undone.
pub(crate) fn run(args: &RepairArgs, printer: &Printer) -> Result<Exit, Failure> {
    let directory = match &args.state_dir {
        Some(directory) => directory.clone(),
        None if paths::is_system_service() => Paths::system().state_dir,
        None => Paths::user().map_err(|error| failed(&error))?.state_dir,
    };
    // Nothing was ever changed where there is no state.
    let changes = if directory.exists() {
        rights::act_as_owner_of(&directory).map_err(|error| failed(&error))?;
        let state = PrivateDir::open(&directory).map_err(|error| failed(&error))?;
        let _instance = match Instance::claim(&state) {
            Ok(instance) => instance,
            Err(ClaimError::AlreadyRunning { .. }) => return Err(Failure::StillRunning),
            Err(error @ (ClaimError::Lock { .. } | ClaimError::Open(_))) => {
                return Err(failed(&error));
            }
        };
        steering::repair(&state, args.dry_run).map_err(|error| failed(&error))?
    } else {
        Vec::new()
    };

    // Where that cannot be told, the journal's word has to do.
    if changes.is_empty() && steering::has_traces().unwrap_or(false) {
        return Err(Failure::JournalElsewhere(directory));
    }
    let texts: Vec<String> = changes.iter().map(ToString::to_string).collect();
    if args.format.json {
        let value = json!({"dry_run": args.dry_run, "changes": texts});
        printer.json(SCHEMA, value)?;
        return Ok(Exit::Success);
    }
    let mut text = String::new();
    if texts.is_empty() {
        text.push_str("Nothing was left behind; there is nothing to undo.\n");
    } else {
        text.push_str(if args.dry_run {
            "This would be undone:\n"
        } else {
            "This was undone:\n"
        });
        for change in &texts {
            text.push_str(&format!("  {change}\n"));
        }
    }
    printer.print(&text)?;
    Ok(Exit::Success)
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::Repair(error.to_string())
}

const SCHEMA: &str = "ztna.repair/1";
