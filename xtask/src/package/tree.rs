//! The files as they lie on the machine, the same for every kind of package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{Making, PARTS, PROGRAMS, notices, papers, sbom};
use crate::process::run;

/// A folder that stands for the machine's root.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Puts everything in its place.
    pub(crate) fn stage(making: &Making) -> anyhow::Result<Self> {
        let tree = Self {
            root: making.folder.join("work/tree"),
        };
        for program in PROGRAMS {
            let content = fs::read(making.binaries.join(program))?;
            tree.put(&format!("usr/bin/{program}"), &content)?;
        }
        for (source, place) in FILES {
            let path = making.root.join("installers/linux").join(source);
            let content = fs::read(&path).with_context(|| format!("{}", path.display()))?;
            tree.put(place, &content)?;
        }
        fs::create_dir_all(tree.root.join("etc/ztna"))?;
        tree.add_manual(making)?;
        tree.add_completions(making)?;
        tree.add_documents(making)?;
        tree.adorn(making.epoch)?;
        Ok(tree)
    }

    /// Copies everything to where a package is made.
    pub(crate) fn copy_to(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        run(Command::new("cp")
            .arg("-a")
            .arg(self.root.join("."))
            .arg(folder))
    }

    /// Returns every file by its path on the machine, in order.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut waiting = vec![self.root.clone()];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    waiting.push(path);
                } else {
                    let place = path.strip_prefix(&self.root)?;
                    found.push(format!("/{}", place.display()));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Returns how many KiB the files take.
    pub(crate) fn kibibytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for file in self.files()? {
            bytes += fs::metadata(self.root.join(file.trim_start_matches('/')))?.len();
        }
        Ok(bytes.div_ceil(1024))
    }

    fn put(&self, place: &str, content: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.root.join(place);
        fs::create_dir_all(path.parent().context("a place in a folder")?)?;
        fs::write(&path, content)?;
        Ok(path)
    }

    fn add_manual(&self, making: &Making) -> anyhow::Result<()> {
        for page in papers::manual(&making.binaries)? {
            let (name, section) = (&page.name, page.section);
            let place = format!("usr/share/man/man{section}/{name}.{section}");
            compress(&self.put(&place, page.roff.as_bytes())?)?;
        }
        Ok(())
    }

    fn add_completions(&self, making: &Making) -> anyhow::Result<()> {
        for (shell, place) in COMPLETIONS {
            let script = papers::completion(&making.binaries, shell)?;
            self.put(place, script.as_bytes())?;
        }
        Ok(())
    }

    fn add_documents(&self, making: &Making) -> anyhow::Result<()> {
        let place = |name: &str| format!("usr/share/doc/ztna/{name}");
        self.put(&place("copyright"), COPYRIGHT.as_bytes())?;
        let parts = sbom::parts(&making.metadata, &PARTS);
        let licences = self.put(&place("licences.txt"), notices::collect(&parts).as_bytes())?;
        compress(&licences)?;
        let bill = sbom::bill(&making.metadata, &PARTS, &making.version);
        self.put(&place("sbom.cdx.json"), format!("{bill:#}\n").as_bytes())?;
        Ok(())
    }

    /// Gives all files the modes and times that they have in every package.
    fn adorn(&self, epoch: u64) -> anyhow::Result<()> {
        let script = r#"chmod -R u=rwX,go=rX . && chmod 0644 $(find . -type f) && chmod 0755 usr/bin/* &&
                        find . -exec touch --no-dereference --date="@$1" {} +"#;
        run(Command::new("sh")
            .args(["-c", script, "sh", &epoch.to_string()])
            .current_dir(&self.root))
    }
}

fn compress(path: &Path) -> anyhow::Result<()> {
    run(Command::new("gzip")
        .args(["-9", "--no-name", "--force"])
        .arg(path))
}

/// Where the files of `installers/linux` go.
const FILES: [(&str, &str); 11] = [
    ("ztna-tray.desktop", "etc/xdg/autostart/ztna-tray.desktop"),
    (
        "ztna-window.desktop",
        "usr/share/applications/ztna-window.desktop",
    ),
    ("environment", "etc/default/ztna"),
    ("polkit.rules", "usr/share/polkit-1/rules.d/50-ztna.rules"),
    ("sysusers.conf", "usr/lib/sysusers.d/ztna.conf"),
    (
        "ztna-programs.service",
        "usr/lib/systemd/system/ztna-programs.service",
    ),
    (
        "ztna-programs.socket",
        "usr/lib/systemd/system/ztna-programs.socket",
    ),
    (
        "ztna-resolver.socket",
        "usr/lib/systemd/system/ztna-resolver.socket",
    ),
    (
        "ztna-resolver@.service",
        "usr/lib/systemd/system/ztna-resolver@.service",
    ),
    (
        "ztna-seal.service",
        "usr/lib/systemd/system/ztna-seal.service",
    ),
    ("ztnad.service", "usr/lib/systemd/system/ztnad.service"),
];

/// Where shells look; the second is Debian's place.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/ztna"),
    ("zsh", "usr/share/zsh/vendor-completions/_ztna"),
    ("fish", "usr/share/fish/vendor_completions.d/ztna.fish"),
];

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: ztna
Comment: What the programs contain from others, with its licences, is in licences.txt.gz and sbom.cdx.json.

Files: *
Copyright: the ZTNA Connector's maintainers
License: Apache-2.0
 On Debian systems, the text is in /usr/share/common-licenses/Apache-2.0.
";
