//! The package for Debian and what descends from it, made by `dpkg-deb`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::Making;
use super::tree::Tree;
use crate::process::{output, run};

/// Makes the package in `folder`.
pub(crate) fn build(making: &Making, tree: &Tree, folder: &Path) -> anyhow::Result<PathBuf> {
    let root = folder.join("root");
    tree.copy_to(&root)?;
    let debian = root.join("DEBIAN");
    fs::create_dir_all(&debian)?;
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))
        .context("dpkg does not tell the architecture: packages are made on Debian")?;
    let architecture = architecture.trim();
    let control = control(
        &making.version,
        architecture,
        &making.libraries,
        tree.kibibytes()?,
    );
    fs::write(debian.join("control"), control)?;
    let settings = tree
        .files()?
        .into_iter()
        .filter(|file| file.starts_with("/etc/"));
    let settings: String = settings.map(|file| file + "\n").collect();
    fs::write(debian.join("conffiles"), settings)?;
    for script in ["postinst", "prerm", "postrm"] {
        let source = making.root.join("installers/linux/deb").join(script);
        fs::copy(&source, debian.join(script)).with_context(|| format!("{}", source.display()))?;
    }
    let finish = r"find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort --zero-terminated |
                   xargs --null md5sum >DEBIAN/md5sums &&
                   chmod 0755 DEBIAN DEBIAN/postinst DEBIAN/prerm DEBIAN/postrm &&
                   chmod 0644 DEBIAN/control DEBIAN/conffiles DEBIAN/md5sums";
    run(Command::new("sh").args(["-c", finish]).current_dir(&root))?;

    let package = folder.join(format!("ztna_{}_{architecture}.deb", making.version));
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "--threads-max=1"])
        .arg(format!("-Z{}", making.compression))
        .arg("--build")
        .args([&root, &package])
        // It sets every time after this one back to it, those of the folders above included.
        .env("SOURCE_DATE_EPOCH", making.epoch.to_string()))?;
    Ok(package)
}

fn control(version: &str, architecture: &str, libraries: &str, kibibytes: u64) -> String {
    format!(
        "Package: ztna\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: ZTNA Connector maintainers <ztna@example.invalid>\n\
         Installed-Size: {kibibytes}\n\
         Pre-Depends: init-system-helpers (>= 1.54~)\n\
         Depends: {libraries}, ca-certificates, nftables, passwd, systemd | adduser\n\
         Recommends: polkitd | policykit-1\n\
         Suggests: libegl1, libx11-xcb1, libxcursor1, libxi6, libxkbcommon-x11-0\n\
         Section: net\n\
         Priority: optional\n\
         Description: decides about every connection to a protected application\n \
         The service ztnad asks for each connection whether this person, on this device,\n \
         in this state, through this program, may make it, and carries what is permitted\n \
         through WireGuard. The command ztna shows and steers it.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_file_has_one_field_a_line_and_an_indented_description() {
        let control = control("1.2.3", "amd64", "libc6 (>= 2.34)", 7);

        assert!(control.starts_with("Package: ztna\nVersion: 1.2.3\nArchitecture: amd64\n"));
        assert!(control.contains("\nDepends: libc6 (>= 2.34), "));
        let (_, description) = control.split_once("\nDescription: ").unwrap();
        assert!(
            description
                .lines()
                .skip(1)
                .all(|line| line.starts_with(' '))
        );
        assert!(control.ends_with('\n') && !control.contains("\n\n"));
    }
}
