//! Where things are in this repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::process::output;

/// The repository's root folder and the build folder that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the repository that this program was built from.
    ///
    /// # Errors
    /// Says so when the sources are no longer where they were at build time.
    pub(crate) fn locate() -> anyhow::Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest
            .parent()
            .filter(|root| root.join("Cargo.toml").is_file())
            .with_context(|| {
                format!(
                    "no workspace around {}: call it through cargo",
                    manifest.display()
                )
            })?
            .to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(chosen) => root.join(chosen),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo builds, and where installed tools and peers are kept.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// How much may still be written there, where `df` tells.
    pub(crate) fn free_gigabytes(&self) -> Option<u64> {
        let there = self.target.ancestors().find(|folder| folder.exists())?;
        available(&output(Command::new("df").arg("-Pk").arg(there))?)
    }
}

/// Reads what `df -Pk` prints: a heading, and a line with blocks of 1024 bytes in its fourth field.
fn available(told: &str) -> Option<u64> {
    let blocks: u64 = told
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()?;
    Some(blocks * 1024 / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_the_fourth_field_of_the_second_line() {
        let told = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                    /dev/vda         264052676 87043712   7864320      92% /\n";

        assert_eq!(available(told), Some(8));
        assert_eq!(available("df: no such file"), None);
    }
}
