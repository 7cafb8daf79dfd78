//! The files that systemd reads, the same as the packages'.

use std::io;
use std::path::Path;

/// Returns each file's place, and its text for `program`.
///
/// # Errors
///
/// If a unit could not name the program's path.
pub(super) fn files(program: &Path) -> io::Result<Vec<(&'static str, String)>> {
    let program = quoted(program)?;
    let with_program = |text: &str| text.replace("/usr/bin/ztnad", &program);
    Ok(vec![
        (
            "/etc/polkit-1/rules.d/50-ztna.rules",
            include_str!("../../../../installers/linux/polkit.rules").to_owned(),
        ),
        (
            "/etc/systemd/system/ztna-programs.service",
            with_program(include_str!(
                "../../../../installers/linux/ztna-programs.service"
            )),
        ),
        (
            "/etc/systemd/system/ztna-programs.socket",
            include_str!("../../../../installers/linux/ztna-programs.socket").to_owned(),
        ),
        (
            "/etc/systemd/system/ztna-resolver.socket",
            include_str!("../../../../installers/linux/ztna-resolver.socket").to_owned(),
        ),
        (
            "/etc/systemd/system/ztna-resolver@.service",
            with_program(include_str!(
                "../../../../installers/linux/ztna-resolver@.service"
            )),
        ),
        (
            "/etc/systemd/system/ztna-seal.service",
            include_str!("../../../../installers/linux/ztna-seal.service").to_owned(),
        ),
        (
            "/etc/systemd/system/ztnad.service",
            with_program(include_str!("../../../../installers/linux/ztnad.service")),
        ),
        (
            "/etc/sysusers.d/ztna.conf",
            include_str!("../../../../installers/linux/sysusers.conf").to_owned(),
        ),
    ])
}

/// Quotes a path as `systemd.service(5)` wants it in a command line.
fn quoted(program: &Path) -> io::Result<String> {
    let text = program
        .to_str()
        .filter(|text| !text.contains(char::is_control));
    let text = text.ok_or_else(|| {
        let problem = format!("{program:?} has characters that a unit cannot name");
        io::Error::new(io::ErrorKind::InvalidInput, problem)
    })?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    let escaped = text
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    Ok(format!("\"{escaped}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_are_those_of_the_packages_but_for_the_programs_place() {
        let packaged = files(Path::new("/usr/bin/ztnad")).unwrap();
        let elsewhere = files(Path::new("/opt/ztna/ztnad")).unwrap();

        for ((place, packaged), (_, elsewhere)) in packaged.iter().zip(&elsewhere) {
            assert_eq!(
                packaged.replace("/usr/bin/", "/opt/ztna/"),
                *elsewhere,
                "{place}"
            );
        }
        let service = elsewhere
            .iter()
            .find(|(place, _)| place.ends_with("/ztnad.service"));
        let (_, unit) = service.unwrap();
        assert!(unit.contains("\nExecStart=/opt/ztna/ztnad --system\n"));
        assert!(unit.contains("\nUser=ztna\n") && unit.contains("\nType=notify\n"));
    }

    #[test]
    fn an_unusual_path_is_quoted_and_an_impossible_one_refused() {
        for (path, expected) in [
            ("/opt/my tools/ztnad", r#""/opt/my tools/ztnad""#),
            (r#"/opt/50%$"\/ztnad"#, r#""/opt/50%%$$\"\\/ztnad""#),
        ] {
            assert_eq!(quoted(Path::new(path)).unwrap(), expected);
        }
        assert!(quoted(Path::new("/opt/\nUser=root\n/ztnad")).is_err());
    }
}
