//! What a program asks the dynamic linker for, as `readelf` tells it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::process::output;

/// Checks that a program asks for the C library in its parts only, and perhaps for the unwinder, as what is built for
/// trying does; returns the newest version of the library that it asks for, as in `2.34`.
///
/// # Errors
/// Names the foreign libraries.
pub(crate) fn check(program: &Path, may_share_unwinder: bool) -> anyhow::Result<String> {
    let read = |flag: &str| {
        output(Command::new("readelf").args([flag, "--wide"]).arg(program)).with_context(|| {
            format!(
                "readelf (package binutils) cannot read {}",
                program.display()
            )
        })
    };
    let foreign = foreign_libraries(&read("--dynamic")?, may_share_unwinder);
    if !foreign.is_empty() {
        bail!(
            "{} needs {}: it is to run where there is nothing but libc",
            program.display(),
            foreign.join(", ")
        );
    }
    newest_libc(&read("--version-info")?)
        .with_context(|| format!("{} asks for no version of libc", program.display()))
}

fn foreign_libraries(dynamic: &str, may_share_unwinder: bool) -> Vec<String> {
    dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split_once('[')?.1.split_once(']'))
        .map(|(library, _)| library)
        .filter(|library| !OF_LIBC.iter().any(|own| library.starts_with(own)))
        .filter(|library| !(may_share_unwinder && library.starts_with(UNWINDER)))
        .map(str::to_owned)
        .collect()
}

fn newest_libc(versions: &str) -> Option<String> {
    let numbers = versions.split_whitespace().filter_map(|word| {
        let version = word.strip_prefix("GLIBC_")?;
        let numbers: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
        Some((numbers?, version))
    });
    numbers.max().map(|(_, version)| version.to_owned())
}

/// The dynamic linker itself, and the C library in its parts.
const OF_LIBC: [&str; 6] = [
    "ld-linux",
    "libc.so.",
    "libdl.so.",
    "libm.so.",
    "libpthread.so.",
    "librt.so.",
];

/// What unwinds the stack of programs that do not bring their own.
const UNWINDER: &str = "libgcc_s.so.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_beside_libc_are_foreign() {
        let dynamic = " 0x0000000000000001 (NEEDED)  Shared library: [libgcc_s.so.1]\n \
                       0x0000000000000001 (NEEDED)  Shared library: [libsqlite3.so.0]\n \
                       0x0000000000000001 (NEEDED)  Shared library: [libc.so.6]\n \
                       0x000000000000000e (SONAME)  Library soname: [libx.so]\n";

        assert_eq!(foreign_libraries(dynamic, true), ["libsqlite3.so.0"]);
        assert_eq!(
            foreign_libraries(dynamic, false),
            ["libgcc_s.so.1", "libsqlite3.so.0"]
        );
    }

    #[test]
    fn the_newest_libc_is_found_by_number_and_not_by_letter() {
        let versions = "0x0010: Name: GLIBC_2.9  Flags: none\n0x0020: Name: GLIBC_2.34 Flags: none GCC_3.0 GLIBC_PRIVATE";

        assert_eq!(newest_libc(versions).as_deref(), Some("2.34"));
        assert_eq!(newest_libc("Name: GCC_3.0"), None);
    }
}
