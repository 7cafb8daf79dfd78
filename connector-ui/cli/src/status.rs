//! `ztna status`: one screen.

use connector_client::{ONE_ANSWER, Service, ServiceError};
use connector_ipc::{
    BehindReport, GatewayReport, GatewayState, InterceptionReport, ManagedReport, RecordsReport,
    Reply, Request, Standing, Status, TrustLevel,
};
use serde_json::json;

use crate::command::{Probe, StatusArgs};
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::session::display_name;
use crate::table::{Cell, Table};
use crate::text::{Screen, Tone, bytes, clean, micros, paragraph, plural, width};
use crate::time;

/// Shows the status once, at each change, or as an exit code only.
pub(crate) async fn run(
    service: &Service,
    args: &StatusArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    if let Some(check) = args.check {
        return Ok(probe(service, check).await);
    }
    let request = Request::Status { follow: args.watch };
    let mut replies = service.open(&request, ONE_ANSWER).await?;
    let mut reply = replies.next().await?;
    loop {
        let Reply::Status(status) = reply else {
            return Err(ServiceError::Unexpected.into());
        };
        match (args.format.json, args.watch) {
            (true, true) => printer.json_line(SCHEMA, json!(status))?,
            (true, false) => printer.json(SCHEMA, json!(status))?,
            (false, true) => printer.redraw(&render(&status, printer.screen()))?,
            (false, false) => printer.print(&render(&status, printer.screen()))?,
        }
        if !args.watch {
            return Ok(Exit::Success);
        }
        reply = replies.next_whenever().await?;
    }
}

async fn probe(service: &Service, check: Probe) -> Exit {
    let reply = service.ask(&Request::Status { follow: false }).await;
    let Ok(Reply::Status(status)) = reply else {
        return Exit::General;
    };
    match check {
        Probe::Live => Exit::Success,
        Probe::Ready if is_ready(status.standing) => Exit::Success,
        Probe::Ready => Exit::General,
    }
}

/// Whether what the policy permits gets through.
fn is_ready(standing: Standing) -> bool {
    match standing {
        Standing::Connected | Standing::Restricted => true,
        Standing::Connecting
        | Standing::Degraded
        | Standing::Paused
        | Standing::SignedOut
        | Standing::SigningIn
        | Standing::InUse
        | Standing::Starting => false,
    }
}

fn render(status: &Status, screen: Screen) -> String {
    let (shape, word, tone) = standing(status.standing);
    let heading = format!("{shape} {word}");
    let mut text = tone.paint(&heading, screen);
    let organisation = match &status.organisation {
        Some(name) => format!(" · {}", clean(name)),
        None => String::new(),
    };
    if width(&heading) + width(&organisation) <= screen.width {
        text.push_str(&format!("{organisation}\n"));
    } else {
        text.push('\n');
        text.push_str(&paragraph(" ", &organisation, screen));
    }
    text.push_str(&paragraph("  ", &status.summary.message, screen));
    if let Some(action) = &status.summary.action {
        text.push_str(&paragraph("  → ", action, screen));
    }
    if status.standing == Standing::InUse {
        // Nothing else is told.
        return text;
    }
    text.push('\n');
    text.push_str(&render_person(status, screen));
    text.push_str(&render_gateways(status, screen));
    text.push_str(&render_service(status, screen));
    text
}

/// What each standing looks like: a shape and a word, and a tone where there is colour.
fn standing(standing: Standing) -> (&'static str, &'static str, Tone) {
    match standing {
        Standing::Connected => ("●", "Connected", Tone::Good),
        Standing::Connecting => ("◐", "Connecting", Tone::Warning),
        Standing::Degraded => ("▲", "Degraded", Tone::Warning),
        Standing::Paused => ("■", "Paused", Tone::Warning),
        Standing::Restricted => ("◆", "Connected, with restrictions", Tone::Warning),
        Standing::SignedOut => ("○", "Signed out", Tone::Bad),
        Standing::SigningIn => ("◔", "Signing in", Tone::Warning),
        Standing::InUse => ("□", "In use by somebody else", Tone::Warning),
        Standing::Starting => ("◌", "Starting", Tone::Warning),
    }
}

fn render_person(status: &Status, screen: Screen) -> String {
    let mut table = Table::labelled(LABELS);
    if let Some(until) = &status.paused_until {
        let until = time::with_distance(until, screen.now);
        table.field("Switched off", format!("until {until}"));
    }
    match &status.identity {
        Some(identity) => {
            table.field("Identity", display_name(identity));
            table.field(
                "Session",
                format!(
                    "ends {}",
                    time::with_distance(&identity.expires_at, screen.now)
                ),
            );
        }
        None => table.field("Identity", "nobody is signed in"),
    }
    let trust = trust_level(status.trust_level);
    table.field(
        "Device",
        match status.checks_unmet {
            0 => format!("trust {trust}"),
            count => format!(
                "trust {trust}, {} not passed; `ztna posture` tells how to mend that",
                plural(count, "check")
            ),
        },
    );
    let addresses: Vec<String> = status
        .tunnel
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    let flows = format!("{} open", plural(status.tunnel.open_flows, "connection"));
    table.field(
        "Tunnel",
        match addresses.is_empty() {
            true => flows,
            false => format!("{}, {flows}", addresses.join(", ")),
        },
    );
    table.render(screen)
}

/// Returns the word for what the findings add up to.
pub(crate) fn trust_level(level: TrustLevel) -> &'static str {
    match level {
        TrustLevel::High => "high",
        TrustLevel::Low => "low",
        TrustLevel::Medium => "medium",
    }
}

fn render_gateways(status: &Status, screen: Screen) -> String {
    let mut table = Table::indented(2);
    for site in &status.tunnel.sites {
        if site.gateways.is_empty() {
            table.row([Cell::new(&site.id), Cell::toned("no gateway", Tone::Bad)]);
        }
        for (index, gateway) in site.gateways.iter().enumerate() {
            let (state, tone) = gateway_state(gateway.state);
            table.row([
                Cell::new(if index == 0 { site.id.as_str() } else { "" }),
                Cell::toned(state, tone),
                Cell::new(format!("{} at {}", gateway.id, gateway.endpoint)),
                Cell::new(handshake(gateway, screen)),
                Cell::new(format!(
                    "↓ {}, ↑ {}",
                    bytes(gateway.rx_bytes),
                    bytes(gateway.tx_bytes)
                )),
            ]);
        }
    }
    table.render(screen)
}

pub(crate) fn gateway_state(state: GatewayState) -> (&'static str, Tone) {
    match state {
        GatewayState::Active => ("● active", Tone::Good),
        GatewayState::Connecting => ("◐ connecting", Tone::Warning),
        GatewayState::Down => ("✗ down", Tone::Bad),
        GatewayState::Standby => ("○ standby", Tone::Plain),
    }
}

fn handshake(gateway: &GatewayReport, screen: Screen) -> String {
    let Some(last) = &gateway.last_handshake else {
        return "no handshake".into();
    };
    let ago = time::ago(last, screen.now);
    let shaken = match gateway.handshake_micros {
        Some(took) => format!("handshake {ago} in {}", micros(took)),
        None => format!("handshake {ago}"),
    };
    match gateway.behind {
        Some(BehindReport::Answers { micros: took }) => {
            format!("{shaken}, end to end in {}", micros(took))
        }
        Some(BehindReport::Silent) => format!("{shaken}, nothing behind it answers"),
        None => shaken,
    }
}

fn render_service(status: &Status, screen: Screen) -> String {
    let mut table = Table::labelled(LABELS);
    match &status.interception {
        None => {}
        Some(InterceptionReport::Down) => {
            table.field("Programs", "left alone; `ztna up` takes them")
        }
        Some(InterceptionReport::Failed { problem }) => {
            table.field("Programs", format!("cannot be taken: {problem}"));
        }
        Some(InterceptionReport::Up {
            device,
            names,
            mended,
            ..
        }) => {
            table.field("Programs", format!("taken through {device}"));
            if !names.is_empty() {
                table.field("", format!("names: {}", names.join(", ")));
            }
            if let Some(mended) = mended {
                table.field("", mended);
            }
        }
    }
    table.field(
        "Proxy",
        match status.proxy.listen {
            Some(address) => format!("{address} (HTTP and SOCKS5)"),
            None => "switched off".into(),
        },
    );
    if let Some(url) = &status.proxy.pac_url {
        table.field("", format!("{url} (PAC)"));
    }
    table.field(
        "Configuration",
        match status.configuration_version {
            Some(version) => format!("version {version}"),
            None => "none yet".into(),
        },
    );
    if let Some(records) = &status.records {
        table.field("Decisions", decisions(records));
        if let Some(problem) = &records.problem {
            table.field("", problem);
        }
    }
    table.field(
        "Control plane",
        match status.control_plane_reachable {
            true => format!("{}, reachable", status.control_plane),
            false => format!("{}, cannot be used (see above)", status.control_plane),
        },
    );
    table.field("Service", format!("ztnad {}", status.version));
    if let Some(managed) = &status.managed {
        table.field("Managed", self::managed(managed));
        if let Some(line) = managed_trouble(managed) {
            table.field("", line);
        }
    }
    if let Some(support) = &status.support {
        table.field("Support", support);
    }
    table.render(screen)
}

/// Returns who manages the device, and what of it people notice.
fn managed(report: &ManagedReport) -> String {
    let mut text = format!("by {}", clean(&report.by));
    if report.always_on {
        text.push_str("; always on");
    } else if !report.pause_allowed {
        text.push_str("; not switched off by people");
    } else if let Some(limit) = report.pause_limit {
        text.push_str(&format!("; switched off for {limit} min at the longest"));
    }
    if let Some(channel) = &report.update_channel {
        text.push_str(&format!("; packages from {}", clean(channel)));
    }
    text
}

/// Returns why the managed settings do not count as they are, if so.
fn managed_trouble(report: &ManagedReport) -> Option<String> {
    let problem = report.problem.as_ref()?;
    Some(format!(
        "the changed settings cannot be used, those from before count: {}",
        clean(problem)
    ))
}

/// Returns how far the decision log is, and how far it was taken.
fn decisions(records: &RecordsReport) -> String {
    let mut text = format!("{} written", plural_records(records.written));
    if let Some(delivered) = records.delivered {
        match records.written.saturating_sub(delivered) {
            0 => text.push_str(", all delivered"),
            waiting => text.push_str(&format!(", {waiting} to be delivered")),
        }
    }
    if records.dropped > 0 {
        text.push_str(&format!(
            ", {} dropped before they were delivered",
            records.dropped
        ));
    }
    text
}

fn plural_records(count: u64) -> String {
    plural(usize::try_from(count).unwrap_or(usize::MAX), "record")
}

/// The columns of the longest label, so that the parts of the screen line up.
const LABELS: usize = "Control plane".len();

const SCHEMA: &str = "ztna.status/1";

#[cfg(test)]
mod tests {
    use connector_ipc::{Identity, ProxyReport, Remedy, SiteReport, TunnelReport};

    use super::*;

    #[test]
    fn a_connected_device_is_one_screen() {
        assert_eq!(
            render(&connected(), SCREEN),
            "\
● Connected · Example Corp
  The gateway hq-1 answers.

Identity       Alice <alice@corp.test>
Session        ends 2026-11-22 18:00:00 UTC (in 8 h 0 min)
Device         trust high
Tunnel         100.64.0.2, 1 connection open
  hq  ● active   hq-1 at 192.0.2.1:51820  handshake 12 s ago in 1.3 ms, end to end in 2.4 ms  ↓ 12.5 MiB, ↑ 1.0 KiB
      ○ standby  hq-2 at 192.0.2.2:51820  no handshake                                        ↓ 0 B, ↑ 0 B
Proxy          127.0.0.1:3128 (HTTP and SOCKS5)
               http://127.0.0.1:3128/proxy.pac (PAC)
Configuration  version 17
Decisions      812 records written, all delivered
Control plane  https://control.corp.test, reachable
Service        ztnad 0.1.0
Support        https://help.corp.test
"
        );
    }

    #[test]
    fn what_is_missing_is_said_and_what_to_do_stands_out() {
        let status = Status {
            standing: Standing::SignedOut,
            summary: Remedy {
                message: "Nobody is signed in.".into(),
                action: Some("Run `ztna login`.".into()),
            },
            organisation: None,
            support: None,
            identity: None,
            trust_level: TrustLevel::Low,
            checks_unmet: 2,
            tunnel: TunnelReport::default(),
            proxy: ProxyReport::default(),
            records: Some(RecordsReport {
                written: 9,
                sealed: 7,
                delivered: Some(2),
                dropped: 1,
                problem: Some("the decision log cannot be delivered".into()),
            }),
            configuration_version: None,
            control_plane_reachable: false,
            ..connected()
        };

        assert_eq!(
            render(&status, SCREEN),
            "\
○ Signed out
  Nobody is signed in.
  → Run `ztna login`.

Identity       nobody is signed in
Device         trust low, 2 checks not passed; `ztna posture` tells how to mend that
Tunnel         0 connections open
Proxy          switched off
Configuration  none yet
Decisions      9 records written, 7 to be delivered, 1 dropped before they were delivered
               the decision log cannot be delivered
Control plane  https://control.corp.test, cannot be used (see above)
Service        ztnad 0.1.0
"
        );
    }

    #[test]
    fn when_it_is_on_again_is_told_with_how_long_that_is() {
        let status = Status {
            standing: Standing::Paused,
            paused_until: Some("2026-11-21T12:00:00Z".into()),
            ..connected()
        };

        let text = render(&status, SCREEN);

        let line = text.lines().find(|line| line.starts_with("Switched off"));
        let line = line.unwrap();
        assert!(line.contains("until 2026-11-21 12:00:00 UTC ("), "{line}");
    }

    #[test]
    fn eighty_columns_are_enough() {
        let narrow = Screen {
            width: 80,
            ..SCREEN
        };
        for line in render(&connected(), narrow).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn on_a_narrow_screen_the_organisation_has_its_own_line_and_the_pac_address_is_whole() {
        let narrow = Screen {
            width: 24,
            ..SCREEN
        };

        let text = render(&connected(), narrow);

        assert!(text.starts_with("● Connected\n · Example Corp\n"), "{text}");
        assert!(text.contains("http://127.0.0.1:3128/proxy.pac"), "{text}");
    }

    #[test]
    fn every_standing_can_be_told_apart_without_colour() {
        let all = [
            Standing::Connected,
            Standing::Connecting,
            Standing::Degraded,
            Standing::InUse,
            Standing::Paused,
            Standing::Restricted,
            Standing::SignedOut,
            Standing::SigningIn,
            Standing::Starting,
        ];
        let shapes: std::collections::BTreeSet<_> = all.map(|one| standing(one).0).into();
        let words: std::collections::BTreeSet<_> = all.map(|one| standing(one).1).into();

        assert_eq!((shapes.len(), words.len()), (all.len(), all.len()));
    }

    #[test]
    fn of_somebody_elses_session_nothing_is_shown_but_that_there_is_one() {
        let mut status = connected();
        status.standing = Standing::InUse;
        status.organisation = None;
        status.summary = Remedy {
            message: "Somebody else is signed in.".into(),
            action: Some("Ask them to sign out.".into()),
        };

        assert_eq!(
            render(&status, SCREEN),
            "□ In use by somebody else\n  Somebody else is signed in.\n  → Ask them to sign out.\n"
        );
    }

    #[test]
    fn nothing_that_the_service_was_told_steers_the_terminal() {
        let mut status = connected();
        status.organisation = Some("\x1b]0;x\x07".into());
        status.summary.message = "\x1b[2J".into();
        status.tunnel.sites[0].id = "\x1b[1m".into();

        assert!(!render(&status, SCREEN).contains('\x1b'));
    }

    const SCREEN: Screen = Screen {
        width: usize::MAX,
        color: false,
        now: 1_795_341_600,
    };

    fn connected() -> Status {
        Status {
            standing: Standing::Connected,
            summary: Remedy {
                message: "The gateway hq-1 answers.".into(),
                action: None,
            },
            organisation: Some("Example Corp".into()),
            support: Some("https://help.corp.test".into()),
            identity: Some(Identity {
                subject: "u-1".into(),
                name: Some("Alice".into()),
                email: Some("alice@corp.test".into()),
                groups: vec!["staff".into()],
                issuer: "https://idp.corp.test".into(),
                session_id: "s-1".into(),
                expires_at: "2026-11-22T18:00:00Z".into(),
            }),
            trust_level: TrustLevel::High,
            checks_unmet: 0,
            interception: None,
            tunnel: TunnelReport {
                dropped: 0,
                addresses: vec![[100, 64, 0, 2].into()],
                sites: vec![SiteReport {
                    in_use: true,
                    id: "hq".into(),
                    gateways: vec![
                        GatewayReport {
                            id: "hq-1".into(),
                            endpoint: "192.0.2.1:51820".into(),
                            state: GatewayState::Active,
                            last_handshake: Some("2026-11-22T09:59:48Z".into()),
                            handshake_micros: Some(1_310),
                            behind: Some(BehindReport::Answers { micros: 2_400 }),
                            rx_bytes: 13_107_200,
                            tx_bytes: 1_024,
                        },
                        GatewayReport {
                            id: "hq-2".into(),
                            endpoint: "192.0.2.2:51820".into(),
                            state: GatewayState::Standby,
                            last_handshake: None,
                            handshake_micros: None,
                            behind: None,
                            rx_bytes: 0,
                            tx_bytes: 0,
                        },
                    ],
                }],
                open_flows: 1,
            },
            proxy: ProxyReport {
                listen: Some(([127, 0, 0, 1], 3128).into()),
                pac_url: Some("http://127.0.0.1:3128/proxy.pac".into()),
            },
            records: Some(RecordsReport {
                written: 812,
                sealed: 810,
                delivered: Some(812),
                ..RecordsReport::default()
            }),
            control_plane: "https://control.corp.test".into(),
            control_plane_reachable: true,
            configuration_version: Some(17),
            configuration_expires_at: None,
            paused_until: None,
            managed: None,
            version: "0.1.0".into(),
        }
    }
}
