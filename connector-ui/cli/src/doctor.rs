//! `ztna doctor` and `ztna netcheck`: what is wrong, and what to do about it.

mod alone;

use connector_client::{Service, ServiceError};
use connector_ipc::{
    Condition, DiagnosisReport, ExaminedReport, GatewayPathReport, NetworkReport, Reply, Request,
};
use serde_json::json;

use crate::command::Format;
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::status::gateway_state;
use crate::table::{Cell, Table};
use crate::text::{Screen, Tone, micros, paragraph, plural};

/// Looks at everything; exits with 1 if something keeps the connector from its work. Where no service
/// answers, it looks at what it can see by itself, and exits as other verbs do then.
pub(crate) async fn run(
    service: &Service,
    format: Format,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let found = match diagnose(service).await {
        Ok(mut report) => {
            report.examined.insert(0, the_service(service).await?);
            report.examined.push(alone::programs_proxy());
            Found {
                exit: exit(&report.examined),
                examined: report.examined,
                network: Some(report.network),
            }
        }
        // It answers, and says no.
        Err(Failure::Service(refused @ ServiceError::Refused(_))) => return Err(refused.into()),
        Err(failure) => Found {
            exit: failure.exit(),
            examined: alone::look(&failure),
            network: None,
        },
    };
    match format.json {
        true => printer.json(
            "ztna.doctor/1",
            json!({"examined": found.examined, "network": found.network}),
        )?,
        false => printer.print(&render(&found.examined, printer.screen()))?,
    }
    Ok(found.exit)
}

/// What came of looking.
struct Found {
    examined: Vec<ExaminedReport>,
    /// None where no service looked at it.
    network: Option<NetworkReport>,
    exit: Exit,
}

/// Looks at the way to the company alone.
pub(crate) async fn netcheck(
    service: &Service,
    format: Format,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut report = diagnose(service).await?;
    report.examined.retain(|one| one.is_network);
    match format.json {
        true => printer.json("ztna.netcheck/1", json!(report))?,
        false => {
            let screen = printer.screen();
            let mut text = render_network(&report.network, screen);
            text.push('\n');
            text.push_str(&render(&report.examined, screen));
            printer.print(&text)?;
        }
    }
    Ok(exit(&report.examined))
}

/// Asks the service to look.
async fn diagnose(service: &Service) -> Result<DiagnosisReport, Failure> {
    let Reply::Diagnosis(report) = service.ask(&Request::Diagnose).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    Ok(report)
}

async fn the_service(service: &Service) -> Result<ExaminedReport, Failure> {
    let found = service.welcome().await?.service;
    let own = env!("CARGO_PKG_VERSION");
    let is_same = found == own;
    Ok(ExaminedReport {
        code: "service".to_owned(),
        is_network: false,
        condition: if is_same {
            Condition::Good
        } else {
            Condition::Warning
        },
        title: "The service".to_owned(),
        finding: match is_same {
            true => format!("ztnad {found} answers."),
            false => format!("ztnad {found} answers, and this command is of version {own}."),
        },
        cure: (!is_same)
            .then(|| "Restart the service after an update, and install both together.".to_owned()),
    })
}

fn exit(examined: &[ExaminedReport]) -> Exit {
    let is_problem = |one: &ExaminedReport| one.condition == Condition::Problem;
    if examined.iter().any(is_problem) {
        Exit::General
    } else {
        Exit::Success
    }
}

fn render(examined: &[ExaminedReport], screen: Screen) -> String {
    let mut table = Table::default();
    for one in examined {
        let (shape, tone) = match one.condition {
            Condition::Good => ("✓", Tone::Good),
            Condition::Problem => ("✗", Tone::Bad),
            Condition::Unknown => ("?", Tone::Warning),
            Condition::Warning => ("!", Tone::Warning),
        };
        table.row([
            Cell::toned(shape, tone),
            Cell::new(&one.title),
            Cell::new(format!("{} [{}]", one.finding, one.code)),
        ]);
        if let Some(cure) = &one.cure {
            let cure = format!("→ {cure}");
            table.row([Cell::new(""), Cell::new(""), Cell::new(cure)]);
        }
    }
    let mut text = table.render(screen);
    let count = |condition| {
        let of = examined.iter().filter(|one| one.condition == condition);
        of.count()
    };
    let (problems, warnings) = (count(Condition::Problem), count(Condition::Warning));
    let summary = match (problems, warnings) {
        (0, 0) => "Nothing is wrong.".to_owned(),
        (0, warnings) => format!("{} that may get in the way.", plural(warnings, "thing")),
        (problems, 0) => format!("{} to be mended.", plural(problems, "problem")),
        (problems, warnings) => format!(
            "{} to be mended, {} that may get in the way.",
            plural(problems, "problem"),
            plural(warnings, "thing")
        ),
    };
    text.push('\n');
    text.push_str(&paragraph("", &summary, screen));
    text
}

fn render_network(network: &NetworkReport, screen: Screen) -> String {
    let mut table = Table::labelled(LABELS);
    let control_plane = network.control_plane_micros.map_or_else(
        || "no answer".to_owned(),
        |took| format!("answers in {}", micros(took)),
    );
    table.field("Control plane", control_plane);
    let clock = network.clock_ahead_seconds.map_or_else(
        || "unknown".to_owned(),
        |seconds| format!("{:+} s against the control plane's", -seconds),
    );
    table.field("Clock", clock);
    let mut text = table.render(screen);
    if network.gateways.is_empty() {
        return text;
    }
    let mut gateways = Table::indented(2);
    gateways.row(
        [
            "Site",
            "Gateway",
            "Address",
            "State",
            "Handshake",
            "Packets",
        ]
        .map(|title| Cell::toned(title, Tone::Strong)),
    );
    for path in &network.gateways {
        gateways.row(row(path));
    }
    text.push('\n');
    text.push_str(&gateways.render(screen));
    text
}

fn row(path: &GatewayPathReport) -> [Cell; 6] {
    let (word, tone) = gateway_state(path.state);
    let address = path
        .address
        .map_or_else(|| path.endpoint.clone(), |address| address.to_string());
    [
        Cell::new(&path.site),
        Cell::new(&path.id),
        Cell::new(address),
        Cell::toned(word, tone),
        Cell::new(
            path.handshake_micros
                .map_or_else(|| "none".to_owned(), micros),
        ),
        Cell::new(
            path.path_mtu
                .map_or_else(|| "unknown".to_owned(), |mtu| format!("{mtu} bytes")),
        ),
    ]
}

/// The width of `Control plane`.
const LABELS: usize = 13;

#[cfg(test)]
mod tests {
    use connector_ipc::GatewayState;

    use super::*;

    #[test]
    fn what_is_wrong_comes_with_its_cure_and_its_code() {
        let examined = [
            one(Condition::Good, None),
            one(Condition::Problem, Some("Mend it.")),
            one(Condition::Warning, Some("Look at it.")),
        ];

        assert_eq!(
            render(&examined, SCREEN),
            "\
✓  The clock  what was seen [clock]
✗  The clock  what was seen [clock]
              → Mend it.
!  The clock  what was seen [clock]
              → Look at it.

1 problem to be mended, 1 thing that may get in the way.
"
        );
        assert_eq!(exit(&examined), Exit::General);
        assert_eq!(exit(&examined[..1]), Exit::Success);
        assert!(render(&examined[..1], SCREEN).ends_with("\nNothing is wrong.\n"));
    }

    #[test]
    fn the_way_to_each_gateway_is_a_line() {
        let network = NetworkReport {
            control_plane_micros: Some(12_340),
            clock_ahead_seconds: Some(-2),
            gateways: vec![GatewayPathReport {
                site: "hq".into(),
                id: "hq-1".into(),
                endpoint: "gw.corp.test:51820".into(),
                address: None,
                state: GatewayState::Down,
                handshake_micros: None,
                behind: None,
                path_mtu: None,
                is_narrow: false,
            }],
        };

        let text = render_network(&network, SCREEN);

        assert!(text.contains("answers in 12.3 ms"), "{text}");
        assert!(text.contains("+2 s against"), "{text}");
        assert!(text.contains("gw.corp.test:51820"), "{text}");
    }

    const SCREEN: Screen = Screen {
        width: usize::MAX,
        color: false,
        now: 0,
    };

    fn one(condition: Condition, cure: Option<&str>) -> ExaminedReport {
        ExaminedReport {
            code: "clock".into(),
            is_network: true,
            condition,
            title: "The clock".into(),
            finding: "what was seen".into(),
            cure: cure.map(str::to_owned),
        }
    }
}
