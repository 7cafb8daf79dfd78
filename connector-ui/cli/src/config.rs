//! `ztna config`: the settings in force.

use connector_client::{Service, ServiceError};
use connector_ipc::{Reply, Request, SettingReport};
use serde_json::json;

use crate::command::ConfigArgs;
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::{Cell, Table};
use crate::text::{Screen, Tone};

/// Shows the settings.
pub(crate) async fn run(
    service: &Service,
    args: &ConfigArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let Reply::Settings(settings) = service.ask(&Request::Config).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match args.format.json {
        true => printer.json("ztna.config/1", json!({ "settings": settings }))?,
        false => printer.print(&render(&settings, args.show_origin, printer.screen()))?,
    }
    Ok(Exit::Success)
}

fn render(settings: &[SettingReport], show_origin: bool, screen: Screen) -> String {
    let by = managed_by(settings);
    let mut table = Table::default();
    for setting in settings {
        let mut cells = vec![Cell::new(&setting.key), Cell::new(&setting.value)];
        if show_origin {
            cells.push(Cell::toned(&setting.origin, Tone::Dim));
        }
        if setting.locked {
            cells.push(Cell::toned(format!("managed by {by}"), Tone::Warning));
        }
        table.row(cells);
    }
    table.render(screen)
}

/// Returns who manages the device, as the settings say it.
fn managed_by(settings: &[SettingReport]) -> String {
    let named = settings.iter().find(|one| one.key == "managed.by");
    let named = named.map(|one| one.value.trim_matches('"').to_owned());
    named.unwrap_or_else(|| "your administrator".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_shown_when_asked_for() {
        let settings = [
            SettingReport {
                key: "proxy.listen".into(),
                value: "\"127.0.0.1:3128\"".into(),
                origin: "default".into(),
                locked: false,
                description: String::new(),
            },
            SettingReport {
                key: "log.level".into(),
                value: "\"info\"".into(),
                origin: "ZTNA_LOG".into(),
                locked: false,
                description: String::new(),
            },
        ];
        let screen = Screen {
            width: usize::MAX,
            color: false,
            now: 0,
        };

        assert_eq!(
            render(&settings, false, screen),
            "proxy.listen  \"127.0.0.1:3128\"\nlog.level     \"info\"\n"
        );
        assert_eq!(
            render(&settings, true, screen),
            "proxy.listen  \"127.0.0.1:3128\"  default\nlog.level     \"info\"            ZTNA_LOG\n"
        );
    }

    #[test]
    fn what_is_managed_is_marked_with_whose_word_it_is() {
        let setting = |key: &str, value: &str| SettingReport {
            key: key.into(),
            value: value.into(),
            origin: "/etc/ztna/managed.toml, line 1".into(),
            locked: true,
            description: String::new(),
        };
        let screen = Screen {
            width: usize::MAX,
            color: false,
            now: 0,
        };

        let alone = render(&[setting("pause.allowed", "false")], false, screen);
        let named = [
            setting("pause.allowed", "false"),
            setting("managed.by", "\"Corp IT\""),
        ];

        assert_eq!(
            alone,
            "pause.allowed  false  managed by your administrator\n"
        );
        assert!(
            render(&named, false, screen)
                .starts_with("pause.allowed  false      managed by Corp IT\n")
        );
    }
}
