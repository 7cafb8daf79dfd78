//! `ztna version`: which versions there are, whether or not the service runs.

use connector_client::Service;
use connector_ipc::VERSION;
use serde_json::{Value, json};

use crate::command::Format;
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::Table;
use crate::text::Screen;

/// Shows the versions.
pub(crate) async fn run(
    service: &Service,
    format: Format,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let welcome = service.welcome().await;
    let service = match &welcome {
        Ok(welcome) => Ok(welcome.service.as_str()),
        Err(failure) => Err(failure.to_string()),
    };
    match format.json {
        true => printer.json("ztna.version/1", describe(service))?,
        false => printer.print(&render(service, printer.screen()))?,
    }
    Ok(Exit::Success)
}

fn describe(service: Result<&str, String>) -> Value {
    let mut description = json!({
        "command": env!("CARGO_PKG_VERSION"),
        "protocol": VERSION,
        "service": service.as_ref().ok(),
    });
    if let Err(problem) = service {
        description["problem"] = problem.into();
    }
    description
}

fn render(service: Result<&str, String>, screen: Screen) -> String {
    let mut table = Table::default();
    table.field("ztna", env!("CARGO_PKG_VERSION"));
    match service {
        Ok(version) => table.field("ztnad", version),
        Err(problem) => table.field("ztnad", format!("unknown: {problem}")),
    }
    table.field("Protocol", VERSION.to_string());
    table.render(screen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_does_not_answer_is_part_of_the_answer() {
        let screen = Screen {
            width: usize::MAX,
            color: false,
            now: 0,
        };

        assert_eq!(
            render(Err("no service answers at /x".into()), screen),
            format!(
                "ztna      {}\nztnad     unknown: no service answers at /x\nProtocol  1\n",
                env!("CARGO_PKG_VERSION")
            )
        );
        assert_eq!(describe(Err("gone".into()))["problem"], "gone");
        assert_eq!(describe(Ok("0.1.0"))["service"], "0.1.0");
        assert!(describe(Ok("0.1.0")).get("problem").is_none());
    }
}
