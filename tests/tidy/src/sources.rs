//! Rules about Rust source files.

use crate::code::{code_of, lines_with_platform_cfg, lines_with_word};
use crate::{Breach, TextFile};

/// The longest that the production part of a file may be.
pub const LONGEST_FILE: usize = 600;

/// Platform-dependent code lives where the platform is wrapped, and nowhere else.
pub fn platform_conditions_stay_in_platform_code(sources: &[TextFile]) -> Vec<Breach> {
    let outside = sources
        .iter()
        .filter(|file| !is_platform_code(&file.path) && !may_only_ask(&file.path));
    outside
        .flat_map(|file| {
            lines_with_platform_cfg(&code_of(&file.text))
                .into_iter()
                .map(|line| {
                    let what =
                        "asks about the platform outside connector-platform and tunnel/src/device";
                    Breach::new(&file.path, line, what)
                })
        })
        .collect()
}

/// `unsafe` is written only where the platform is wrapped, and where a library's
/// trait promises a layout.
pub fn unsafe_code_stays_in_platform_code(sources: &[TextFile]) -> Vec<Breach> {
    let outside = sources.iter().filter(|file| !is_platform_code(&file.path));
    outside
        .flat_map(|file| {
            let code = code_of(&file.text);
            let promises = if file.path == LAYOUT_PROMISES {
                lines_starting_with(&code, "unsafe impl ")
            } else {
                vec![]
            };
            lines_with_word(&code, "unsafe")
                .into_iter()
                .filter(move |line| !promises.contains(line))
                .map(|line| {
                    Breach::new(
                        &file.path,
                        line,
                        "unsafe code outside connector-platform and tunnel/src/device",
                    )
                })
        })
        .collect()
}

/// SQLite's virtual tables are C structures, and rusqlite's traits promise their layout.
const LAYOUT_PROMISES: &str = "posture/src/tables/device_table.rs";

fn lines_starting_with(code: &str, start: &str) -> Vec<usize> {
    let lines = code.lines().zip(1..);
    lines
        .filter(|(line, _)| line.starts_with(start))
        .map(|(_, number)| number)
        .collect()
}

/// Exactly one file knows boringtun, so that exactly one file has to supply what it leaves out.
pub fn boringtun_is_wrapped_in_one_file(sources: &[TextFile]) -> Vec<Breach> {
    let uses: Vec<Breach> = sources
        .iter()
        .filter_map(|file| {
            let line = *lines_with_word(&code_of(&file.text), "boringtun").first()?;
            Some(Breach::new(
                &file.path,
                line,
                "boringtun is used in more than one file: go through its wrapper",
            ))
        })
        .collect();
    match uses.len() {
        0 => vec![Breach::new(
            "tunnel/proto/src",
            0,
            "boringtun is used nowhere: where did its wrapper go?",
        )],
        1 => Vec::new(),
        _ => uses,
    }
}

/// A file's production part is short enough to be read in one sitting.
pub fn files_are_short(sources: &[TextFile]) -> Vec<Breach> {
    sources
        .iter()
        .filter(|file| !is_test_code(&file.path))
        .filter_map(|file| {
            let lines = production_lines(&file.text);
            (lines > LONGEST_FILE).then(|| {
                let what = format!("{lines} lines of production code, more than {LONGEST_FILE}: split it by concern");
                Breach::new(&file.path, LONGEST_FILE + 1, what)
            })
        })
        .collect()
}

/// Modules are named by their files.
pub fn no_file_is_called_mod(sources: &[TextFile]) -> Vec<Breach> {
    sources
        .iter()
        .filter(|file| file.path == "mod.rs" || file.path.ends_with("/mod.rs"))
        .map(|file| {
            Breach::new(
                &file.path,
                0,
                "write foo.rs beside foo/ instead of foo/mod.rs",
            )
        })
        .collect()
}

fn is_platform_code(path: &str) -> bool {
    [
        "connector-core/platform/src/",
        "tunnel/src/device.rs",
        "tunnel/src/device/",
    ]
    .iter()
    .any(|place| path.starts_with(place))
}

/// What may ask about the platform, but be nothing unsafe: the end-to-end tests' packet sockets, which exist on one
/// system only, and the tray's desktop.
fn may_only_ask(path: &str) -> bool {
    ["connector-ui/src/desktop", "tests/e2e/src/wire"]
        .iter()
        .filter_map(|place| path.strip_prefix(place))
        .any(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn is_test_code(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The number of lines before the file's module of tests.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let begins_tests = |at: &usize| {
        lines[*at] == "#[cfg(test)]"
            && lines[at + 1..]
                .iter()
                .take(3)
                .any(|line| line.starts_with("mod tests"))
    };
    (0..lines.len()).find(begins_tests).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(breaches: &[Breach]) -> Vec<(&str, usize)> {
        breaches
            .iter()
            .map(|breach| (breach.file.as_str(), breach.line))
            .collect()
    }

    #[test]
    fn a_platform_condition_in_the_core_is_a_breach_and_in_platform_code_is_none() {
        let text = "\n#[cfg(target_os = \"linux\")]\nfn f() {}\n";
        let sources = [
            TextFile::new("connector-core/src/access.rs", text),
            TextFile::new("connector-core/platform/src/paths.rs", text),
            TextFile::new("tunnel/src/device.rs", text),
            TextFile::new("tunnel/src/device/linux.rs", text),
        ];

        let breaches = platform_conditions_stay_in_platform_code(&sources);

        assert_eq!(places(&breaches), [("connector-core/src/access.rs", 2)]);
    }

    #[test]
    fn the_desktop_and_packet_sockets_may_ask_about_the_platform_and_be_nothing_unsafe() {
        let text = "#[cfg(target_os = \"linux\")]\nfn f() {}\nfn g() { unsafe { h() } }\n";
        let wire = [TextFile::new("tests/e2e/src/wire.rs", text)];
        let desktop = [TextFile::new("connector-ui/src/desktop/linux.rs", text)];
        let world = [TextFile::new("tests/e2e/src/world.rs", text)];

        for allowed in [&wire, &desktop] {
            assert_eq!(platform_conditions_stay_in_platform_code(allowed), []);
            assert_eq!(unsafe_code_stays_in_platform_code(allowed).len(), 1);
        }
        assert_eq!(platform_conditions_stay_in_platform_code(&world).len(), 1);
    }

    #[test]
    fn unsafe_in_the_proxy_is_a_breach_and_in_platform_code_is_none() {
        let text = "fn f() {\n    unsafe { g() }\n}\n";
        let sources = [
            TextFile::new("proxy/src/lib.rs", text),
            TextFile::new("connector-core/platform/src/sys.rs", text),
            TextFile::new("lab/src/main.rs", "#![expect(unsafe_code)] // unsafe\n"),
            TextFile::new(
                LAYOUT_PROMISES,
                "unsafe impl T for S {}\nfn f() { unsafe {} }\n",
            ),
        ];

        assert_eq!(
            places(&unsafe_code_stays_in_platform_code(&sources)),
            [("proxy/src/lib.rs", 2), (LAYOUT_PROMISES, 2)]
        );
    }

    #[test]
    fn a_second_file_that_uses_boringtun_is_a_breach() {
        let wrapper = TextFile::new("tunnel/proto/src/noise.rs", "use boringtun::noise::Tunn;\n");
        let other = TextFile::new("lab/src/gateway.rs", "fn f(t: boringtun::noise::Tunn) {}\n");
        let talker = TextFile::new("lab/src/main.rs", "// like boringtun\n");

        assert_eq!(
            boringtun_is_wrapped_in_one_file(&[wrapper.clone(), talker]),
            []
        );
        assert_eq!(boringtun_is_wrapped_in_one_file(&[wrapper, other]).len(), 2);
        assert_eq!(boringtun_is_wrapped_in_one_file(&[]).len(), 1);
    }

    #[test]
    fn production_lines_are_limited_and_tests_are_not() {
        let long = "fn f() {}\n".repeat(LONGEST_FILE);
        let tested = format!("{long}#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let sources = [
            TextFile::new("proxy/src/long.rs", tested.clone()),
            TextFile::new("proxy/src/longer.rs", format!("\n{tested}")),
            TextFile::new("proxy/src/door/tests.rs", format!("{long}{long}")),
            TextFile::new("proxy/tests/door.rs", format!("{long}{long}")),
        ];

        assert_eq!(
            places(&files_are_short(&sources)),
            [("proxy/src/longer.rs", LONGEST_FILE + 1)]
        );
    }

    #[test]
    fn a_conditional_item_that_is_not_the_tests_does_not_end_production() {
        let text = format!(
            "#[cfg(test)]\nuse x;\n{}",
            "fn f() {}\n".repeat(LONGEST_FILE)
        );

        assert_eq!(
            files_are_short(&[TextFile::new("proxy/src/a.rs", text)]).len(),
            1
        );
    }

    #[test]
    fn a_file_called_mod_is_a_breach() {
        let sources = [
            TextFile::new("proxy/src/door/mod.rs", ""),
            TextFile::new("proxy/src/model.rs", ""),
        ];

        assert_eq!(
            places(&no_file_is_called_mod(&sources)),
            [("proxy/src/door/mod.rs", 0)]
        );
    }
}
