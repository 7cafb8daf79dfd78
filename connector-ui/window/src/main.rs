//! `ztna-window`: the connector's window.
//!
//! What its pages are is decided by `connector-ui`, as data; here they are drawn. Like the tray,
//! it shows what the service says, carries out what the person chooses, and sees no token.

// Windows opens a console for every other program.
#![windows_subsystem = "windows"]

mod app;
mod draw;
mod feed;
mod first;
mod look;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Parser;
use connector_client::Service;
use connector_ui::icon::{Colour, Icon, Shape};
use connector_ui::pages::Page;
use eframe::egui;

use crate::app::{App, Errand};
use crate::first::First;

/// The connector's window: how it is, your applications, this device, what was decided.
///
/// It follows the service within a second. Closing it ends nothing else. Where no window can be
/// opened, `ztna` does the same in a terminal.
#[derive(Debug, Parser)]
#[command(name = "ztna-window", version)]
struct Options {
    /// The service's endpoint, in place of the one that ZTNA_SOCKET names or the usual one.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// The page to begin with: overview, resources, device, decisions, diagnostics, settings, help, about.
    #[arg(long, value_name = "PAGE", value_parser = page)]
    page: Option<Page>,

    /// The application to show, by its id or one of its names.
    #[arg(long, value_name = "RESOURCE", conflicts_with = "request")]
    resource: Option<String>,

    /// The application to ask for access to.
    #[arg(long, value_name = "RESOURCE")]
    request: Option<String>,

    /// Runs the checks at once.
    #[arg(long)]
    run_checks: bool,
}

impl Options {
    fn errand(&self) -> Errand {
        match (&self.request, &self.resource, self.page) {
            (Some(id), _, _) => Errand::Request(id.clone()),
            (None, Some(id), _) => Errand::Resource(id.clone()),
            (None, None, _) if self.run_checks => Errand::RunChecks,
            (None, None, Some(page)) => Errand::Page(page),
            (None, None, None) => Errand::Open,
        }
    }
}

fn page(name: &str) -> Result<Page, String> {
    Page::named(name).ok_or_else(|| {
        let names: Vec<&str> = Page::ALL.into_iter().map(Page::name).collect();
        format!("there is no such page; there are {}", names.join(", "))
    })
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let errand = options.errand();
    let first = match first::window(options.socket.as_deref(), &errand) {
        First::Another => return Ok(()),
        First::This(door) => door,
    };
    let client = concat!("ztna-window ", env!("CARGO_PKG_VERSION"));
    let service = Arc::new(Service::new(client, options.socket, None));
    let viewport = egui::ViewportBuilder::default()
        .with_app_id("ztna-window")
        .with_icon(look::icon(NOT_RUNNING))
        .with_inner_size([960.0, 680.0])
        .with_min_inner_size([320.0, 240.0]);
    let native = eframe::NativeOptions {
        viewport,
        ..eframe::NativeOptions::default()
    };
    let start = move |context: &eframe::CreationContext<'_>| {
        let app = App::start(&context.egui_ctx, service, first, errand);
        Ok(Box::new(app) as Box<dyn eframe::App>)
    };
    eframe::run_native(TITLE, native, Box::new(start)).map_err(|error| {
        anyhow!("no window can be opened: {error}; `ztna status` shows the same in a terminal")
    })
}

const TITLE: &str = "ZTNA Connector";

/// Until the service has said something.
const NOT_RUNNING: Icon = Icon {
    shape: Shape::Cross,
    colour: Colour::Red,
};
