//! What launchd reads (`launchd.plist(5)`).

use std::fmt::Write as _;
use std::path::Path;

/// The service's name.
pub(super) const LABEL: &str = "ztna-connector";

/// Returns the property list that has launchd run `program`.
pub(super) fn property_list(program: &Path) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n",
    );
    let program = escaped(&program.display().to_string());
    // Ended as it was told to, it stays ended; however else, it is started again.
    for (key, value) in [
        ("Label", format!("<string>{LABEL}</string>")),
        (
            "ProgramArguments",
            format!("<array><string>{program}</string><string>--system</string></array>"),
        ),
        ("RunAtLoad", "<true/>".to_owned()),
        (
            "KeepAlive",
            "<dict><key>SuccessfulExit</key><false/></dict>".to_owned(),
        ),
        ("ProcessType", "<string>Interactive</string>".to_owned()),
        ("Umask", "<integer>63</integer>".to_owned()),
        (
            "StandardErrorPath",
            "<string>/Library/Logs/ztnad.log</string>".to_owned(),
        ),
    ] {
        let _ = writeln!(text, "\t<key>{key}</key>\n\t{value}");
    }
    text.push_str("</dict>\n</plist>\n");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_property_list_names_the_program_and_restarts_what_has_crashed() {
        let text = property_list(Path::new("/Library/ZTNA & Co/ztnad"));

        assert!(
            text.contains("<string>/Library/ZTNA &amp; Co/ztnad</string><string>--system</string>")
        );
        assert!(
            text.contains("<key>KeepAlive</key>\n\t<dict><key>SuccessfulExit</key><false/></dict>")
        );
        assert_eq!(text.matches("<key>").count(), 8);
        assert!(text.ends_with("</dict>\n</plist>\n"));
    }
}
