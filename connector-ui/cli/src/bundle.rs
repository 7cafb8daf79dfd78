//! `ztna debug bundle`: everything that whoever helps you needs to see, in one file of yours.

mod pseudonyms;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use connector_client::{ONE_ANSWER, Service, ServiceError};
use connector_ipc::{Reply, Request};
use connector_platform::private;
use serde_json::{Value, json};

use self::pseudonyms::Pseudonyms;

use crate::command::BundleArgs;
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::{Cell, Table};
use crate::text::paragraph;

/// Collects what the service tells this user, and writes it where the user may write.
pub(crate) async fn run(
    service: &Service,
    args: &BundleArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut parts = collect(service).await;
    if args.anonymize {
        let pseudonyms = Pseudonyms::of(&parts);
        for part in &mut parts {
            part.text = pseudonyms.replace(&part.text);
        }
    }
    let path = args.output.clone().unwrap_or_else(default_path);
    write(&path, &parts).map_err(|problem| Failure::Write {
        path: path.clone(),
        problem,
    })?;

    let screen = printer.screen();
    let mut table = Table::indented(2);
    for part in &parts {
        let size = format!("{} bytes", part.text.len());
        table.row([Cell::new(part.name), Cell::new(part.what), Cell::new(size)]);
    }
    let mut text = format!("Written to {}; nothing was sent.\n\n", path.display());
    text.push_str(&table.render(screen));
    text.push('\n');
    let advice = if args.anonymize {
        "Names, addresses and paths that the service knows are replaced by numbered ones. Look through the files before you share them: what others wrote into a log line may still be in it."
    } else {
        "It names you, your applications and what you used. Look through it before you share it, or write one with --anonymize."
    };
    text.push_str(&paragraph("", advice, screen));
    printer.print(&text)?;
    Ok(Exit::Success)
}

/// A file of the bundle.
struct Part {
    name: &'static str,
    what: &'static str,
    text: String,
}

/// Asks for everything; what this user may not see, or cannot be had, says so in its place.
async fn collect(service: &Service) -> Vec<Part> {
    let mut parts = vec![Part {
        name: "about.json",
        what: "versions and system",
        text: pretty(&about(service).await),
    }];
    for (name, what, request) in [
        (
            "status.json",
            "where the connector stands",
            Request::Status { follow: false },
        ),
        ("doctor.json", "what was examined", Request::Diagnose),
        (
            "posture.json",
            "this device's checks",
            Request::Posture { refresh: false },
        ),
        ("config.json", "the settings in force", Request::Config),
        (
            "resources.json",
            "protected applications",
            Request::Resources,
        ),
        ("policies.json", "the policies' commits", Request::PolicyLog),
    ] {
        let answer = match service.ask(&request).await {
            Ok(reply) => json!(reply),
            Err(error) => unavailable(&error),
        };
        let text = pretty(&answer);
        parts.push(Part { name, what, text });
    }
    let decisions = Request::Decisions {
        follow: false,
        denied: false,
        limit: DECISIONS,
    };
    parts.push(Part {
        name: "decisions.jsonl",
        what: "the latest decisions",
        text: lines(service, &decisions).await,
    });
    parts.push(Part {
        name: "service.log",
        what: "the service's latest log lines",
        text: lines(service, &Request::Log).await,
    });
    parts
}

async fn about(service: &Service) -> Value {
    let found = match service.welcome().await {
        Ok(welcome) => json!(welcome.service),
        Err(error) => unavailable(&error),
    };
    json!({
        "schema": "ztna.bundle/1",
        "ztna": env!("CARGO_PKG_VERSION"),
        "ztnad": found,
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
    })
}

/// Asks for a list, and returns a line for each.
async fn lines(service: &Service, request: &Request) -> String {
    match list(service, request).await {
        Ok(text) => text,
        Err(error) => format!("{}\n", unavailable(&error)),
    }
}

async fn list(service: &Service, request: &Request) -> Result<String, ServiceError> {
    let mut replies = service.open(request, ONE_ANSWER).await?;
    let mut text = String::new();
    loop {
        let reply = replies.next().await?;
        if let Reply::Decision(decision) = &reply {
            text.push_str(&format!("{}\n", json!(decision)));
        } else if let Reply::LogLines { lines } = &reply {
            for line in lines {
                text.push_str(&format!("{line}\n"));
            }
        } else if matches!(reply, Reply::Done) {
            return Ok(text);
        } else {
            return Err(ServiceError::Unexpected);
        }
    }
}

fn unavailable(error: &ServiceError) -> Value {
    json!({ "unavailable": error.to_string() })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Writes a new file that only this user may read; one that is there is left alone.
fn write(path: &Path, parts: &[Part]) -> std::io::Result<()> {
    let file: File = private::create_file(path)?;
    let mut archive = tar::Builder::new(file);
    for part in parts {
        let mut header = tar::Header::new_ustar();
        header.set_size(part.text.len() as u64);
        header.set_mode(0o600);
        archive.append_data(
            &mut header,
            format!("ztna-debug/{}", part.name),
            part.text.as_bytes(),
        )?;
    }
    let mut file = archive.into_inner()?;
    file.flush()
}

fn default_path() -> PathBuf {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.unwrap_or_default().as_secs();
    PathBuf::from(format!("ztna-debug-{seconds}.tar"))
}

/// How many decisions go into a bundle.
const DECISIONS: usize = 500;
