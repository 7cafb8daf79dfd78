//! What systems of the Unix kind share: running their own programs, and who may replace a file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs the first of `programs` that is there, and returns what it printed.
///
/// # Errors
///
/// If none is there, or it fails: with its own words.
pub(super) fn run(programs: &[&str], arguments: &[&str]) -> io::Result<String> {
    let found = programs.iter().find(|program| Path::new(program).is_file());
    let program = found.ok_or_else(|| {
        let usual = programs.first().copied().unwrap_or_default();
        io::Error::new(io::ErrorKind::NotFound, format!("{usual} is not there"))
    })?;
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first: String = complaint
        .lines()
        .next()
        .unwrap_or("it says nothing")
        .chars()
        .take(300)
        .collect();
    Err(io::Error::other(format!(
        "`{program} {}` ({}): {first}",
        arguments.join(" "),
        output.status
    )))
}

/// Returns the file, or the directory above it, that others than `administrator` could
/// replace or write to.
///
/// # Errors
///
/// What the system says.
pub(super) fn replaceable(program: &Path, administrator: u32) -> io::Result<Option<PathBuf>> {
    for place in fs::canonicalize(program)?.ancestors() {
        let found = fs::symlink_metadata(place)?;
        // A directory like /tmp lets others make files, but not replace this one.
        let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
        let is_writable = found.mode() & 0o022 != 0 && !is_sticky;
        if is_writable || ![0, administrator].contains(&found.uid()) {
            return Ok(Some(place.to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustix::process::geteuid;

    use super::*;

    #[test]
    fn a_program_that_others_could_replace_is_found_by_any_directory_above_it() {
        let root = tempfile::tempdir().unwrap();
        let own = geteuid().as_raw();
        let set = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let directory = fs::canonicalize(root.path()).unwrap().join("bin");
        let program = directory.join("ztnad");
        fs::create_dir(&directory).unwrap();
        fs::write(&program, "").unwrap();
        set(&directory, 0o755);
        set(&program, 0o755);

        assert_eq!(replaceable(&program, own).unwrap(), None);
        set(&program, 0o775);
        assert_eq!(replaceable(&program, own).unwrap(), Some(program.clone()));
        set(&program, 0o755);
        set(&directory, 0o777);
        assert_eq!(replaceable(&program, own).unwrap(), Some(directory.clone()));
        set(&directory, 0o755);
        if own != 0 {
            assert_eq!(replaceable(&program, 0).unwrap(), Some(program.clone()));
        }
        assert!(replaceable(&directory.join("missing"), own).is_err());
    }

    #[test]
    fn a_program_that_is_missing_or_fails_is_named_with_its_words() {
        let missing = run(&["/no/such/program"], &[]).unwrap_err();
        let failing = run(&["/bin/sh"], &["-c", "echo why >&2; exit 3"]).unwrap_err();

        assert!(
            missing.to_string().contains("/no/such/program"),
            "{missing}"
        );
        assert!(failing.to_string().contains("why"), "{failing}");
        assert_eq!(
            run(&["/no/such", "/bin/sh"], &["-c", "echo so"]).unwrap(),
            "so\n"
        );
    }
}
