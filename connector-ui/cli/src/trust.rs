//! `ztna delegate`, `ztna elevate` and their lists: acting for somebody else.

use connector_client::{Service, ServiceError};
use connector_ipc::{DelegationReport, ElevationReport, Reply, Request, TrustLevel};
use serde_json::json;

use crate::command::{DelegateArgs, ElevateArgs, Format};
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::{Cell, Table};
use crate::text::{Screen, Tone, paragraph};
use crate::time;
use crate::why;

/// Consents that a program acts for the person, or takes that back.
pub(crate) async fn delegate(
    service: &Service,
    args: &DelegateArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    if let Some(id) = &args.revoke {
        let request = Request::RevokeDelegation { id: id.clone() };
        service.order(&request).await?;
        printer.print("Taken back; what the program had open for you is decided again.\n")?;
        return Ok(Exit::Success);
    }
    let request = Request::Delegate {
        program: args
            .program
            .as_deref()
            .map_or(Ok(String::new()), why::program)?,
        scope: args.scope.clone(),
        seconds: args.seconds,
        reason: args.reason.clone(),
    };
    let Reply::Delegation(report) = service.ask(&request).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.delegation/1", json!(report))?,
        false => printer.print(&render_delegation(&report, printer.screen()))?,
    }
    Ok(Exit::Success)
}

/// Lists the consents that are in force.
pub(crate) async fn delegations(
    service: &Service,
    format: Format,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let Reply::Delegations(reports) = service.ask(&Request::Delegations).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match format.json {
        true => printer.json("ztna.delegations/1", json!({ "delegations": reports }))?,
        false => printer.print(&render_delegations(&reports, printer.screen()))?,
    }
    Ok(Exit::Success)
}

/// Acts in the context of another identity, or stops that.
pub(crate) async fn elevate(
    service: &Service,
    args: &ElevateArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    if let Some(id) = &args.revoke {
        let request = Request::RevokeElevation { id: id.clone() };
        service.order(&request).await?;
        printer.print("You act in your own context again.\n")?;
        return Ok(Exit::Success);
    }
    let request = Request::Elevate {
        target: args.target.clone().unwrap_or_default(),
        reason: args.reason.clone().unwrap_or_default(),
        evidence: args.evidence.clone(),
        seconds: args.seconds,
    };
    let Reply::Elevation(report) = service.ask(&request).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.elevation/1", json!(report))?,
        false => printer.print(&render_elevation(&report, printer.screen()))?,
    }
    Ok(Exit::Success)
}

/// Lists the elevations that are in force.
pub(crate) async fn elevations(
    service: &Service,
    format: Format,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let Reply::Elevations(reports) = service.ask(&Request::Elevations).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match format.json {
        true => printer.json("ztna.elevations/1", json!({ "elevations": reports }))?,
        false => printer.print(&render_elevations(&reports, printer.screen()))?,
    }
    Ok(Exit::Success)
}

fn render_delegation(report: &DelegationReport, screen: Screen) -> String {
    let mut text = heading("✓ consented", &report.program, screen);
    let mut table = Table::default();
    table.field("Delegation", &report.id);
    table.field("Applications", report.scope.join(", "));
    if let Some(reason) = &report.reason {
        table.field("Reason", reason);
    }
    table.field("Until", time::with_distance(&report.expires_at, screen.now));
    table.field("SHA-256", &report.sha256);
    add_policy(&mut table, report.policy.as_ref(), report.commit.as_ref());
    text.push_str(&table.render(screen));
    let next = format!("`ztna delegate --revoke {}` takes it back.", report.id);
    text.push('\n');
    text.push_str(&paragraph("  → ", &next, screen));
    text
}

fn render_delegations(reports: &[DelegationReport], screen: Screen) -> String {
    if reports.is_empty() {
        let text =
            "No program acts for you. `ztna delegate PROGRAM --to APPLICATION` consents to one.";
        return paragraph("", text, screen);
    }
    let mut table = Table::default();
    table.row(
        ["Program", "Applications", "Until", "Delegation"]
            .map(|title| Cell::toned(title, Tone::Strong)),
    );
    for report in reports {
        table.row([
            Cell::new(&report.program),
            Cell::new(report.scope.join(", ")),
            Cell::new(time::with_distance(&report.expires_at, screen.now)),
            Cell::toned(&report.id, Tone::Dim),
        ]);
    }
    table.render(screen)
}

fn render_elevation(report: &ElevationReport, screen: Screen) -> String {
    let mut text = heading("✓ acting as", &report.target, screen);
    let mut table = Table::default();
    table.field("Elevation", &report.id);
    table.field("Reason", &report.reason);
    if !report.evidence.is_empty() {
        table.field("Evidence", report.evidence.join(", "));
    }
    table.field("Until", time::with_distance(&report.expires_at, screen.now));
    table.field(
        "Trust level",
        match report.trust_level {
            TrustLevel::High => "high",
            TrustLevel::Low => "low",
            TrustLevel::Medium => "medium",
        },
    );
    add_policy(&mut table, report.policy.as_ref(), report.commit.as_ref());
    text.push_str(&table.render(screen));
    let next = format!("`ztna elevate --revoke {}` ends it.", report.id);
    text.push('\n');
    text.push_str(&paragraph("  → ", &next, screen));
    text
}

fn render_elevations(reports: &[ElevationReport], screen: Screen) -> String {
    if reports.is_empty() {
        let text =
            "You act in your own context. `ztna elevate TARGET --reason TEXT` asks for another.";
        return paragraph("", text, screen);
    }
    let mut table = Table::default();
    table.row(
        ["Acting as", "Reason", "Evidence", "Until", "Elevation"]
            .map(|title| Cell::toned(title, Tone::Strong)),
    );
    for report in reports {
        table.row([
            Cell::new(&report.target),
            Cell::new(&report.reason),
            Cell::new(report.evidence.join(", ")),
            Cell::new(time::with_distance(&report.expires_at, screen.now)),
            Cell::toned(&report.id, Tone::Dim),
        ]);
    }
    table.render(screen)
}

fn heading(word: &str, what: &str, screen: Screen) -> String {
    let mut table = Table::default();
    table.row([Cell::toned(word, Tone::Good), Cell::new(what)]);
    let mut text = table.render(screen);
    text.push('\n');
    text
}

fn add_policy(table: &mut Table, policy: Option<&String>, commit: Option<&String>) {
    if let Some(policy) = policy {
        table.field("Policy", policy);
    }
    if let Some(commit) = commit {
        table.field("Commit", commit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consent_says_what_to_and_how_to_take_it_back() {
        let text = render_delegation(&delegation(), SCREEN);

        for part in [
            "✓ consented  /opt/agents/reader",
            "Applications  wiki, mail",
            "SHA-256       ab",
            "Policy        consent",
            "`ztna delegate --revoke d-1`",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(render_delegations(&[delegation()], SCREEN).contains("d-1"));
        assert!(render_delegations(&[], SCREEN).contains("No program acts for you"));
    }

    #[test]
    fn an_elevation_says_as_whom_why_and_how_to_end_it() {
        let text = render_elevation(&elevation(), SCREEN);

        for part in [
            "✓ acting as  carol",
            "Evidence     ticket:4711",
            "Trust level  high",
            "`ztna elevate --revoke e-1`",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(render_elevations(&[elevation()], SCREEN).contains("Pay day"));
        assert!(render_elevations(&[], SCREEN).contains("your own context"));
    }

    fn delegation() -> DelegationReport {
        DelegationReport {
            id: "d-1".into(),
            program: "/opt/agents/reader".into(),
            sha256: "ab".into(),
            scope: vec!["wiki".into(), "mail".into()],
            reason: None,
            expires_at: "2026-11-22T10:00:00Z".into(),
            policy: Some("consent".into()),
            commit: None,
        }
    }

    fn elevation() -> ElevationReport {
        ElevationReport {
            id: "e-1".into(),
            target: "carol".into(),
            reason: "Pay day".into(),
            evidence: vec!["ticket:4711".into()],
            trust_level: TrustLevel::High,
            expires_at: "2026-11-22T10:00:00Z".into(),
            policy: None,
            commit: None,
        }
    }

    const SCREEN: Screen = Screen {
        width: 120,
        color: false,
        now: 0,
    };
}
