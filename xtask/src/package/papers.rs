//! What goes with the programs: manual pages, completions, licences, and the bill of materials.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{PARTS, WINDOW, metadata, notices, sbom, workspace_version};
use crate::process::{cargo, output, run, say};
use crate::workspace::Workspace;

/// A page of the manual.
#[derive(Debug)]
pub(super) struct Page {
    /// What it is about.
    pub(super) name: String,
    /// Its chapter: 1 for commands, 8 for services.
    pub(super) section: u8,
    /// Its text, for `man`.
    pub(super) roff: String,
}

/// Has the programs in a folder write their manual.
///
/// # Errors
/// Names the program that does not.
pub(super) fn manual(programs: &Path) -> anyhow::Result<Vec<Page>> {
    let mut pages = vec![Page {
        name: "ztnad".to_owned(),
        section: 8,
        roff: says(programs, "ztnad", &["--manual"])?,
    }];
    for name in says(programs, "ztna", &["manual"])?.lines() {
        pages.push(Page {
            name: name.to_owned(),
            section: 1,
            roff: says(programs, "ztna", &["manual", name])?,
        });
    }
    Ok(pages)
}

/// Has the command in a folder write its completions for a shell.
///
/// # Errors
/// Fails where it knows no such shell.
pub(super) fn completion(programs: &Path, shell: &str) -> anyhow::Result<String> {
    says(programs, "ztna", &["completion", shell])
}

/// Builds the programs of this machine, and returns where they are: they write what goes with those for another system.
///
/// # Errors
/// Fails where they do not compile.
pub(super) fn own_programs(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    run(cargo()
        .args(["build", "--locked", "--workspace", "--bins"])
        .current_dir(workspace.root()))?;
    Ok(workspace.target().join("debug"))
}

/// Writes what goes with the programs for macOS into a folder that stands for the machine's root.
///
/// # Errors
/// Says what could not be made or written.
pub(super) fn write_macos(workspace: &Workspace, root: &Path) -> anyhow::Result<()> {
    let programs = own_programs(workspace)?;
    for page in manual(&programs)? {
        let (name, section) = (&page.name, page.section);
        let place = format!("usr/local/share/man/man{section}/{name}.{section}");
        put(root, &place, &page.roff)?;
    }
    for (shell, place) in MACOS_COMPLETIONS {
        put(root, place, &completion(&programs, shell)?)?;
    }
    let metadata = sbom::merge(
        metadata(workspace.root(), MACOS)?,
        metadata(&workspace.root().join(WINDOW), MACOS)?,
    );
    let version = workspace_version(&metadata)?;
    let parts = sbom::parts(&metadata, &PARTS);
    put(
        root,
        &format!("{MACOS_RESOURCES}/THIRD-PARTY.txt"),
        &notices::collect(&parts),
    )?;
    let bill = sbom::bill(&metadata, &PARTS, &version);
    put(
        root,
        &format!("{MACOS_RESOURCES}/ztna.cdx.json"),
        &format!("{bill:#}\n"),
    )?;
    say(&format!(
        "wrote what goes with the programs below {}",
        root.display()
    ));
    Ok(())
}

fn says(programs: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    output(Command::new(programs.join(program)).args(arguments))
        .with_context(|| format!("{program} {arguments:?} prints nothing"))
}

fn put(root: &Path, place: &str, text: &str) -> anyhow::Result<()> {
    let path = root.join(place);
    fs::create_dir_all(path.parent().context("a place in a folder")?)?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Crates are the same for both kinds of Macs.
const MACOS: &str = "aarch64-apple-darwin";

const MACOS_RESOURCES: &str = "Applications/ZTNA Connector.app/Contents/Resources";

/// Where shells look on a Mac; Apple's own zsh does so in the first.
const MACOS_COMPLETIONS: [(&str, &str); 3] = [
    ("zsh", "usr/local/share/zsh/site-functions/_ztna"),
    ("bash", "usr/local/share/bash-completion/completions/ztna"),
    (
        "fish",
        "usr/local/share/fish/vendor_completions.d/ztna.fish",
    ),
];
