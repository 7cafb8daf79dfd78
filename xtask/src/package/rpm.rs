//! The package for Fedora, SUSE and what descends from them, made by `rpmbuild`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::Making;
use super::tree::Tree;
use crate::process::{run, succeeds};

/// Whether there is what it takes.
pub(crate) fn is_possible() -> bool {
    succeeds(Command::new("rpmbuild").arg("--version"))
}

/// Makes the package in `folder`.
pub(crate) fn build(making: &Making, tree: &Tree, folder: &Path) -> anyhow::Result<PathBuf> {
    let staged = folder.join("staged");
    tree.copy_to(&staged)?;
    let mut files = tree.files()?;
    for (debians, ours) in MOVED {
        let ours_path = staged.join(ours.trim_start_matches('/'));
        fs::create_dir_all(ours_path.parent().context("a place in a folder")?)?;
        fs::rename(staged.join(debians.trim_start_matches('/')), ours_path)?;
        files.retain(|file| file != debians);
        files.push(ours.to_owned());
    }
    let script = |name: &str| {
        let source = making.root.join("installers/linux/rpm").join(name);
        fs::read_to_string(&source).with_context(|| format!("{}", source.display()))
    };
    let spec = spec(&Spec {
        version: &making.version,
        payload: match making.compression {
            "gzip" => "w1.gzdio",
            _ => "w6.xzdio",
        },
        staged: &staged,
        files: &files,
        post: &script("post")?,
        preun: &script("preun")?,
        postun: &script("postun")?,
    });
    let path = folder.join("ztna.spec");
    fs::write(&path, spec)?;
    let out = folder.join("out");
    run(Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--define"])
        .arg(format!("_topdir {}", folder.join("top").display()))
        .arg("--define")
        .arg(format!("_rpmdir {}", out.display()))
        .arg(&path)
        .env("SOURCE_DATE_EPOCH", making.epoch.to_string()))?;
    let name = format!("ztna-{}-1.{}.rpm", making.version, std::env::consts::ARCH);
    Ok(out.join(std::env::consts::ARCH).join(name))
}

struct Spec<'a> {
    version: &'a str,
    /// How rpmbuild compresses.
    payload: &'a str,
    staged: &'a Path,
    files: &'a [String],
    post: &'a str,
    preun: &'a str,
    postun: &'a str,
}

fn spec(spec: &Spec<'_>) -> String {
    let mut text = PREAMBLE.to_owned();
    let _ = write!(
        text,
        "%global _binary_payload {}\nName: ztna\nVersion: {}\nRelease: 1\nLicense: Apache-2.0\nGroup: Productivity/Networking/Security\n\
         Summary: Decides about every connection to a protected application\n\
         Requires: ca-certificates, nftables, systemd\nRecommends: polkit\nAutoReqProv: yes\n\n\
         %description\n\
         The service ztnad asks for each connection whether this person, on this device, in this state, through this\n\
         program, may make it, and carries what is permitted through WireGuard. The command ztna shows and steers it.\n\n\
         %install\ncp -a {}/. %{{buildroot}}\n\n",
        spec.payload,
        spec.version,
        spec.staged.display()
    );
    for (section, script) in [
        ("post", spec.post),
        ("preun", spec.preun),
        ("postun", spec.postun),
    ] {
        let _ = write!(text, "%{section}\n{script}\n");
    }
    text.push_str("%files\n");
    for folder in FOLDERS {
        let _ = writeln!(text, "%dir %attr(0755,root,root) {folder}");
    }
    for file in spec.files {
        let kind = if file.starts_with("/etc/") {
            "%config(noreplace) "
        } else {
            ""
        };
        let _ = writeln!(text, "{kind}%attr(-,root,root) {file}");
    }
    text
}

/// Nothing is changed in the files, and nothing of this moment or machine goes into the package.
const PREAMBLE: &str = "\
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _build_id_links none
%global source_date_epoch_from_changelog 0
%global use_source_date_epoch_as_buildtime 1
%global clamp_mtime_to_source_date_epoch 1
%global _buildhost reproducible
";

/// The folders that are nobody else's.
const FOLDERS: [&str; 2] = ["/etc/ztna", "/usr/share/doc/ztna"];

/// What has another place than on Debian.
const MOVED: [(&str, &str); 1] = [(
    "/usr/share/zsh/vendor-completions/_ztna",
    "/usr/share/zsh/site-functions/_ztna",
)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kept_and_scripts_are_where_they_belong() {
        let files = ["/etc/default/ztna".to_owned(), "/usr/bin/ztna".to_owned()];

        let text = spec(&Spec {
            version: "1.2.3",
            payload: "w6.xzdio",
            staged: Path::new("/staged"),
            files: &files,
            post: "echo up",
            preun: "echo down",
            postun: "echo gone",
        });

        assert!(text.contains("\n%config(noreplace) %attr(-,root,root) /etc/default/ztna\n"));
        assert!(text.contains("\n%attr(-,root,root) /usr/bin/ztna\n"));
        assert!(text.contains("\n%dir %attr(0755,root,root) /usr/share/doc/ztna\n"));
        assert!(text.contains("\n%preun\necho down\n"));
        assert!(text.contains("cp -a /staged/. %{buildroot}\n"));
    }
}
