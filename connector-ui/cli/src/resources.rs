//! `ztna resources`: the protected applications.

use connector_client::{Service, ServiceError};
use connector_ipc::{Reply, Request, ResourceReport, ResourceState};
use serde_json::json;

use crate::command::Format;
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::{Cell, Table};
use crate::text::{Screen, Tone, paragraph};

/// Lists the protected applications.
pub(crate) async fn run(
    service: &Service,
    format: Format,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let Reply::Resources(resources) = service.ask(&Request::Resources).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match format.json {
        true => printer.json("ztna.resources/1", json!({ "resources": resources }))?,
        false => printer.print(&render(&resources, printer.screen()))?,
    }
    Ok(Exit::Success)
}

fn render(resources: &[ResourceReport], screen: Screen) -> String {
    if resources.is_empty() {
        let text = "No application is protected yet. `ztna status` shows whether a configuration has arrived.";
        return paragraph("", text, screen);
    }
    let mut table = Table::default();
    table.row(
        ["Access", "Application", "Names", "Ports", "Site"]
            .map(|title| Cell::toned(title, Tone::Strong)),
    );
    for resource in resources {
        let (state, tone) = match resource.state {
            ResourceState::Denied => ("✗ denied", Tone::Bad),
            ResourceState::Permitted => ("✓ permitted", Tone::Good),
            ResourceState::Undecided => ("· not asked yet", Tone::Dim),
        };
        table.row([
            Cell::toned(state, tone),
            Cell::new(&resource.title),
            Cell::new(resource.names.join(", ")),
            Cell::new(resource.ports.join(", ")),
            Cell::new(&resource.site),
        ]);
    }
    table.render(screen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_application_has_its_state_in_words() {
        let resources = [
            resource("Company wiki", ResourceState::Permitted),
            resource("Payroll", ResourceState::Denied),
            resource("Echo", ResourceState::Undecided),
        ];

        assert_eq!(
            render(&resources, SCREEN),
            "\
Access           Application   Names                          Ports            Site
✓ permitted      Company wiki  app.corp.test, *.dev.app.test  tcp/80, tcp/443  hq
✗ denied         Payroll       app.corp.test, *.dev.app.test  tcp/80, tcp/443  hq
· not asked yet  Echo          app.corp.test, *.dev.app.test  tcp/80, tcp/443  hq
"
        );
    }

    #[test]
    fn an_empty_list_says_so() {
        assert!(render(&[], SCREEN).starts_with("No application is protected yet."));
    }

    const SCREEN: Screen = Screen {
        width: usize::MAX,
        color: false,
        now: 0,
    };

    fn resource(title: &str, state: ResourceState) -> ResourceReport {
        ResourceReport {
            id: "app".into(),
            title: title.into(),
            names: vec!["app.corp.test".into(), "*.dev.app.test".into()],
            ports: vec!["tcp/80".into(), "tcp/443".into()],
            site: "hq".into(),
            state,
        }
    }
}
