//! `ztna override`: the way out of what the administrator locked.

use std::io::Read;

use connector_client::{Service, ServiceError};
use connector_ipc::{OverrideChallengeReport, OverrideReport, Reply, Request};
use serde_json::json;

use crate::command::{OverrideArgs, OverrideVerb, RedeemArgs};
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::Table;
use crate::text::{Screen, Tone, clean, paragraph};
use crate::time;

/// Shows what a code has to answer, or redeems one.
pub(crate) async fn run(
    service: &Service,
    args: &OverrideArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    match &args.verb {
        Some(OverrideVerb::Redeem(redeem)) => self::redeem(service, redeem, printer).await,
        None => challenge(service, args, printer).await,
    }
}

async fn challenge(
    service: &Service,
    args: &OverrideArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let Reply::OverrideChallenge(report) = service.ask(&Request::OverrideChallenge).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.override/1", json!(report))?,
        false => printer.print(&render_challenge(&report, printer.screen()))?,
    }
    Ok(Exit::Success)
}

async fn redeem(service: &Service, args: &RedeemArgs, printer: &Printer) -> Result<Exit, Failure> {
    let code = match args.code.as_str() {
        "-" => read_code(std::io::stdin().lock())?,
        code => code.to_owned(),
    };
    let request = Request::OverrideRedeem {
        code,
        reason: args.reason.clone(),
    };
    let Reply::Overridden(report) = service.ask(&request).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.overridden/1", json!(report))?,
        false => printer.print(&render_overridden(&report, printer.screen()))?,
    }
    Ok(Exit::Success)
}

fn read_code(input: impl Read) -> Result<String, Failure> {
    let mut code = String::new();
    let read = input.take(LONGEST_CODE + 1).read_to_string(&mut code);
    read.map_err(|error| Failure::Input(format!("the code cannot be read: {error}")))?;
    if code.len() as u64 > LONGEST_CODE {
        let message = format!("this is no code: it has more than {LONGEST_CODE} characters");
        return Err(Failure::Input(message));
    }
    Ok(code)
}

fn render_challenge(report: &OverrideChallengeReport, screen: Screen) -> String {
    let mut text = paragraph(
        "",
        "Read this to the help desk; they make a code for it.",
        screen,
    );
    text.push('\n');
    let mut table = Table::default();
    table.field("Device", &report.device);
    table.field("Challenge", &report.challenge);
    table.field("Until", time::with_distance(&report.expires_at, screen.now));
    if let Some(support) = &report.support {
        table.field("Help desk", support);
    }
    text.push_str(&table.render(screen));
    text.push('\n');
    let next = "`ztna override redeem CODE --reason TEXT` then switches the connector off for the time that the code allows. It is written down, and reported to the company.";
    text.push_str(&paragraph("  → ", next, screen));
    text
}

fn render_overridden(report: &OverrideReport, screen: Screen) -> String {
    let mut text = Tone::Warning.paint("■ Switched off", screen);
    text.push_str(&format!(" · allowed by {}\n", clean(&report.by)));
    let until = time::with_distance(&report.until, screen.now);
    let sentence =
        format!("The connector is on again {until}, or with `ztna up`. The code is used up.");
    text.push_str(&paragraph("  ", &sentence, screen));
    text
}

/// The service takes less; more is some other file.
const LONGEST_CODE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_whole_and_a_large_file_is_none() {
        assert_eq!(read_code(&b"a.b\n.c\n"[..]).unwrap(), "a.b\n.c\n");
        assert!(read_code(&vec![b'x'; 1 << 20][..]).is_err());
        assert!(read_code(&b"\xff"[..]).is_err());
    }

    #[test]
    fn the_challenge_is_shown_with_what_to_do() {
        let report = OverrideChallengeReport {
            device: "host-1".into(),
            challenge: "K7QF-9M2X-4TAB".into(),
            expires_at: "2026-11-22T10:15:00Z".into(),
            support: Some("help@corp.test".into()),
        };
        let screen = Screen {
            width: usize::MAX,
            color: false,
            now: 0,
        };

        let text = render_challenge(&report, screen);

        assert!(text.contains("K7QF-9M2X-4TAB"), "{text}");
        assert!(text.contains("help@corp.test"), "{text}");
        assert!(text.contains("ztna override redeem CODE"), "{text}");
    }
}
