//! `ztna request` and `ztna requests`: asking for access.

use connector_client::{Service, ServiceError};
use connector_ipc::{AccessRequestReport, AccessRequestStatus, Reply, Request};
use serde_json::json;

use crate::command::{Format, RequestArgs};
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::{Cell, Table};
use crate::text::{Screen, Tone, paragraph, seconds};
use crate::time;

/// Asks for access.
pub(crate) async fn ask(
    service: &Service,
    args: &RequestArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = Request::RequestAccess {
        host: args.target.host.clone(),
        port: args.target.port,
        reason: args.reason.clone(),
        seconds: args.seconds,
    };
    let Reply::AccessRequest(report) = service.ask(&request).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.request/1", json!(report))?,
        false => printer.print(&render_one(&report, printer.screen()))?,
    }
    Ok(Exit::Success)
}

/// Lists what was asked for, and what became of it.
pub(crate) async fn list(
    service: &Service,
    format: Format,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let Reply::AccessRequests(reports) = service.ask(&Request::AccessRequests).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match format.json {
        true => printer.json("ztna.requests/1", json!({ "requests": reports }))?,
        false => printer.print(&render(&reports, printer.screen()))?,
    }
    Ok(Exit::Success)
}

fn render_one(report: &AccessRequestReport, screen: Screen) -> String {
    let mut table = Table::default();
    let (word, tone) = word(report.status);
    table.row([Cell::toned(word, tone), Cell::new(title(report))]);
    let mut text = table.render(screen);
    text.push('\n');
    let mut table = Table::default();
    table.field("Request", &report.id);
    table.field("Reason", &report.reason);
    table.field("For", seconds(report.seconds));
    if let Some(approver) = &report.approver {
        table.field("Asked", approver);
    }
    if let Some(until) = until(report, screen) {
        table.field("Until", until);
    }
    text.push_str(&table.render(screen));
    if report.status == AccessRequestStatus::Pending {
        let next =
            "Access opens by itself once it is approved. `ztna requests` tells how it stands.";
        text.push('\n');
        text.push_str(&paragraph("  → ", next, screen));
    }
    text
}

fn render(reports: &[AccessRequestReport], screen: Screen) -> String {
    if reports.is_empty() {
        let text = "You have asked for nothing. `ztna request HOST --reason TEXT` asks for access.";
        return paragraph("", text, screen);
    }
    let mut table = Table::default();
    table.row(
        ["State", "Application", "For", "Until", "Reason", "Request"]
            .map(|title| Cell::toned(title, Tone::Strong)),
    );
    for report in reports {
        let (word, tone) = word(report.status);
        table.row([
            Cell::toned(word, tone),
            Cell::new(title(report)),
            Cell::new(seconds(report.seconds)),
            Cell::new(until(report, screen).unwrap_or_default()),
            Cell::new(&report.reason),
            Cell::toned(&report.id, Tone::Dim),
        ]);
    }
    table.render(screen)
}

fn title(report: &AccessRequestReport) -> &str {
    report.title.as_deref().unwrap_or(&report.resource)
}

fn until(report: &AccessRequestReport, screen: Screen) -> Option<String> {
    let until = report.until.as_ref()?;
    Some(time::with_distance(until, screen.now))
}

fn word(status: AccessRequestStatus) -> (&'static str, Tone) {
    match status {
        AccessRequestStatus::Approved => ("✓ approved", Tone::Good),
        AccessRequestStatus::Denied => ("✗ denied", Tone::Bad),
        AccessRequestStatus::Expired => ("· expired", Tone::Dim),
        AccessRequestStatus::Pending => ("· pending", Tone::Warning),
        AccessRequestStatus::Unknown => ("? unknown", Tone::Warning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_request_says_who_was_asked_and_what_happens_next() {
        let text = render_one(&report(AccessRequestStatus::Pending), SCREEN);

        for part in [
            "· pending",
            "Payroll",
            "finance-leads",
            "2 h",
            "opens by itself",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn every_state_has_its_word_and_nothing_asked_for_is_said() {
        for (status, expected) in [
            (AccessRequestStatus::Approved, "✓ approved"),
            (AccessRequestStatus::Denied, "✗ denied"),
            (AccessRequestStatus::Expired, "· expired"),
            (AccessRequestStatus::Unknown, "? unknown"),
        ] {
            let text = render(&[report(status)], SCREEN);
            assert!(
                text.contains(expected) && text.contains("request-7"),
                "{text}"
            );
        }
        assert!(render(&[], SCREEN).contains("asked for nothing"));
    }

    fn report(status: AccessRequestStatus) -> AccessRequestReport {
        AccessRequestReport {
            id: "request-7".into(),
            status,
            resource: "payroll".into(),
            title: Some("Payroll".into()),
            reason: "Pay day".into(),
            seconds: 7200,
            requested_at: "2026-11-22T10:00:00Z".into(),
            until: Some("2026-11-23T10:00:00Z".into()),
            approver: Some("finance-leads".into()),
        }
    }

    const SCREEN: Screen = Screen {
        width: 120,
        color: false,
        now: 0,
    };
}
