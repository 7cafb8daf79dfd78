//! `ztna manual`: the manual's pages, made from what `--help` says.

use clap::Command;
use clap_mangen::Man;

use crate::exit::{Exit, Failure};
use crate::output::Printer;

/// Prints the page of that name or, without one, the names of all.
pub(crate) fn run(
    page: Option<&str>,
    command: &Command,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut command = command.clone();
    command.build();
    let pages = pages(command);
    let text = match page {
        None => pages
            .iter()
            .map(|page| format!("{}\n", name(page)))
            .collect(),
        Some(wanted) => {
            let unknown = || Failure::Input(format!("there is no page {wanted:?}"));
            let found = pages.into_iter().find(|page| name(page) == wanted);
            render(found.ok_or_else(unknown)?)?
        }
    };
    printer.insist(&text)?;
    Ok(Exit::Success)
}

fn render(page: Command) -> Result<String, Failure> {
    let mut roff = Vec::new();
    Man::new(page)
        .section("1")
        .render(&mut roff)
        .map_err(Failure::Output)?;
    Ok(String::from_utf8_lossy(&roff).into_owned())
}

/// Returns the command and everything below it that is not hidden.
fn pages(command: Command) -> Vec<Command> {
    let below: Vec<Command> = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
        .cloned()
        .collect();
    std::iter::once(command)
        .chain(below.into_iter().flat_map(pages))
        .collect()
}

fn name(page: &Command) -> &str {
    page.get_display_name().unwrap_or_else(|| page.get_name())
}
