//! Rules about `Cargo.toml` and `clippy.toml`.

use toml::{Table, Value};

use crate::{Breach, TextFile};

/// What every package takes from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];
const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
/// The packages that may depend on something for one platform only.
const PLATFORM_PACKAGES: [&str; 4] = [
    "connector-core/platform/Cargo.toml",
    "connector-ui/Cargo.toml",
    "tests/e2e/Cargo.toml",
    "tunnel/Cargo.toml",
];
/// The folders of the pure crates, whose clippy takes more away.
const PURE: [&str; 4] = [
    "connector-core",
    "connector-core/ipc",
    "connector-core/policy",
    "tunnel/proto",
];
/// What a pure crate is told by its driver instead of asking.
const NOT_IN_PURE: [&str; 3] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
];

/// Every package takes its version, edition, licence and lints from the workspace.
pub fn packages_inherit_from_the_workspace(manifests: &[TextFile]) -> Vec<Breach> {
    each_package(manifests, |file, manifest| {
        let package = table(manifest, "package");
        let missing = INHERITED
            .iter()
            .filter(|key| !package.is_some_and(|package| is_inherited(package.get(**key))));
        let mut breaches: Vec<Breach> = missing
            .map(|key| at_key(file, "package", format!("write `{key}.workspace = true`")))
            .collect();
        if !manifest
            .get("lints")
            .is_some_and(|lints| is_inherited(Some(lints)))
        {
            breaches.push(at_key(
                file,
                "lints",
                "write `[lints]` with `workspace = true`",
            ));
        }
        breaches
    })
}

/// Every dependency's version is in the root manifest, and only there.
pub fn dependencies_come_from_the_workspace(manifests: &[TextFile]) -> Vec<Breach> {
    each_package(manifests, |file, manifest| {
        let tables = dependency_tables(manifest);
        let own = tables
            .into_iter()
            .flatten()
            .filter(|(_, dependency)| !is_inherited(Some(dependency)));
        own.map(|(name, _)| {
            at_key(
                file,
                name,
                format!("write `{name}.workspace = true`, its version is in the root"),
            )
        })
        .collect()
    })
}

/// Only platform code depends on something for one platform only.
pub fn platform_dependencies_stay_in_platform_packages(manifests: &[TextFile]) -> Vec<Breach> {
    each_package(manifests, |file, manifest| {
        if PLATFORM_PACKAGES.contains(&file.path.as_str()) || !manifest.contains_key("target") {
            return Vec::new();
        }
        vec![at_key(
            file,
            "[target",
            "only connector-platform, tunnel and e2e have dependencies for one platform",
        )]
    })
}

/// A package that is a workspace of its own says the same as the others: about itself, of its lints, and of the versions of
/// what they use too.
pub fn workspaces_of_their_own_say_what_the_root_says(manifests: &[TextFile]) -> Vec<Breach> {
    let root = manifests.iter().find(|file| file.path == "Cargo.toml");
    let Some(root) = root.and_then(parse) else {
        return vec![Breach::new(
            "Cargo.toml",
            0,
            "the root's manifest is missing or no TOML",
        )];
    };
    let Some(root) = table(&root, "workspace") else {
        return vec![Breach::new("Cargo.toml", 0, "the root is no workspace")];
    };
    let alone = manifests.iter().filter_map(|file| {
        let manifest = parse(file)?;
        (manifest.contains_key("package") && is_alone(&manifest)).then_some((file, manifest))
    });
    alone
        .flat_map(|(file, manifest)| differences(file, &manifest, root))
        .collect()
}

fn differences(file: &TextFile, manifest: &Table, root: &Table) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let (own, wanted) = (table(manifest, "package"), table(root, "package"));
    for key in INHERITED {
        if own.and_then(|own| own.get(key)) != wanted.and_then(|wanted| wanted.get(key)) {
            breaches.push(at_key(
                file,
                key,
                format!("`{key}` is not what the root says"),
            ));
        }
    }
    if manifest.get("lints") != root.get("lints") {
        breaches.push(at_key(
            file,
            "[lints",
            "repeat the root's lints as they are",
        ));
    }
    let versions = table(root, "dependencies");
    for (name, dependency) in dependency_tables(manifest).into_iter().flatten() {
        let known = versions.and_then(|versions| versions.get(name));
        if let Some(known) = known
            && version(known) != version(dependency)
        {
            let what = format!("`{name}` is used in another version than the root names");
            breaches.push(at_key(file, name, what));
        }
    }
    breaches
}

fn version(dependency: &Value) -> Option<&str> {
    dependency
        .as_str()
        .or_else(|| dependency.get("version")?.as_str())
}

/// Whether a package is a workspace of its own, so that it has nothing to inherit from.
fn is_alone(manifest: &Table) -> bool {
    manifest.contains_key("workspace")
}

/// A pure crate's clippy.toml says all that the root's says, since it replaces it, and takes the clock and threads away.
pub fn pure_crates_are_linted_more_strictly(clippy_files: &[TextFile]) -> Vec<Breach> {
    let Some(root) = clippy_files
        .iter()
        .find(|file| file.path == "clippy.toml")
        .and_then(parse)
    else {
        return vec![Breach::new(
            "clippy.toml",
            0,
            "the root's clippy.toml is missing or no TOML",
        )];
    };
    let mut breaches = Vec::new();
    for folder in PURE {
        let path = format!("{folder}/clippy.toml");
        let Some(file) = clippy_files.iter().find(|file| file.path == path) else {
            breaches.push(Breach::new(
                &path,
                0,
                "a pure crate has its own clippy.toml",
            ));
            continue;
        };
        let own = parse(file).unwrap_or_default();
        for (key, wanted) in &root {
            if !covers(own.get(key), wanted) {
                let what =
                    format!("repeat what the root's says of `{key}`: this file replaces that one");
                breaches.push(Breach::new(&path, 0, what));
            }
        }
        for method in NOT_IN_PURE.iter().filter(|method| !disallows(&own, method)) {
            breaches.push(Breach::new(
                &path,
                0,
                format!("disallow `{method}`: a pure crate is told by its driver"),
            ));
        }
    }
    breaches
}

fn each_package(
    manifests: &[TextFile],
    rule: impl Fn(&TextFile, &Table) -> Vec<Breach>,
) -> Vec<Breach> {
    manifests
        .iter()
        .flat_map(|file| match parse(file) {
            None => vec![Breach::new(&file.path, 0, "this is no TOML")],
            Some(manifest) if manifest.contains_key("package") && !is_alone(&manifest) => {
                rule(file, &manifest)
            }
            Some(_) => Vec::new(),
        })
        .collect()
}

fn dependency_tables(manifest: &Table) -> Vec<&Table> {
    let for_platforms = table(manifest, "target")
        .into_iter()
        .flatten()
        .filter_map(|(_, target)| target.as_table());
    std::iter::once(manifest)
        .chain(for_platforms)
        .flat_map(|place| DEPENDENCIES.iter().filter_map(|kind| table(place, kind)))
        .collect()
}

/// Whether a value has everything that another one asks for: the same, or for a list at least its items.
fn covers(own: Option<&Value>, wanted: &Value) -> bool {
    match (own, wanted) {
        (Some(Value::Array(own)), Value::Array(wanted)) => {
            wanted.iter().all(|item| own.contains(item))
        }
        (own, wanted) => own == Some(wanted),
    }
}

fn disallows(clippy: &Table, method: &str) -> bool {
    let methods = clippy.get("disallowed-methods").and_then(Value::as_array);
    methods.is_some_and(|methods| {
        methods
            .iter()
            .any(|entry| entry.as_str().or_else(|| entry.get("path")?.as_str()) == Some(method))
    })
}

fn parse(file: &TextFile) -> Option<Table> {
    file.text.parse().ok()
}

fn table<'a>(within: &'a Table, key: &str) -> Option<&'a Table> {
    within.get(key)?.as_table()
}

fn is_inherited(value: Option<&Value>) -> bool {
    value
        .and_then(|value| value.get("workspace"))
        .and_then(Value::as_bool)
        == Some(true)
}

/// A breach at the first line that mentions the key.
fn at_key(file: &TextFile, key: &str, what: impl Into<String>) -> Breach {
    let line = file
        .text
        .lines()
        .position(|line| line.contains(key))
        .map_or(0, |index| index + 1);
    Breach::new(&file.path, line, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"lab\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
        [dependencies]\nserde = { workspace = true, features = [\"x\"] }\n[lints]\nworkspace = true\n";

    fn lab(text: impl Into<String>) -> [TextFile; 1] {
        [TextFile::new("lab/Cargo.toml", text)]
    }

    #[test]
    fn a_package_that_inherits_everything_breaks_no_rule() {
        assert_eq!(packages_inherit_from_the_workspace(&lab(GOOD)), []);
        assert_eq!(dependencies_come_from_the_workspace(&lab(GOOD)), []);
        assert_eq!(
            platform_dependencies_stay_in_platform_packages(&lab(GOOD)),
            []
        );
    }

    #[test]
    fn an_edition_or_lints_of_its_own_are_breaches() {
        let own = GOOD
            .replace("edition.workspace = true", "edition = \"2021\"")
            .replace("[lints]\nworkspace = true\n", "");

        let breaches = packages_inherit_from_the_workspace(&lab(own));

        let whats: Vec<_> = breaches.iter().map(|breach| breach.what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "write `edition.workspace = true`",
                "write `[lints]` with `workspace = true`"
            ]
        );
    }

    #[test]
    fn a_version_outside_the_root_is_a_breach_at_its_line() {
        for dependency in [
            "rand = \"0.9\"",
            "rand = { git = \"https://example.org/rand\" }",
            "rand = { path = \"../rand\" }",
        ] {
            for place in [
                "[dependencies]",
                "[dev-dependencies]",
                "[target.'cfg(unix)'.dependencies]",
            ] {
                let text = format!("[package]\nname = \"lab\"\n{place}\n{dependency}\n");

                let breaches = dependencies_come_from_the_workspace(&lab(text));

                assert_eq!(breaches.len(), 1, "{place} {dependency}");
                assert_eq!(breaches[0].line, 4);
            }
        }
    }

    #[test]
    fn a_platform_dependency_outside_platform_packages_is_a_breach() {
        let text = "[package]\nname = \"x\"\n[target.'cfg(windows)'.dependencies]\nwindows-sys.workspace = true\n";

        assert_eq!(
            platform_dependencies_stay_in_platform_packages(&lab(text)).len(),
            1
        );
        let platform = [TextFile::new("connector-core/platform/Cargo.toml", text)];
        assert_eq!(
            platform_dependencies_stay_in_platform_packages(&platform),
            []
        );
    }

    #[test]
    fn a_workspace_of_its_own_must_say_what_the_root_says() {
        let about = "version = \"1\"\nedition = \"2024\"\nrust-version = \"1.95\"\nlicense = \"MIT\"\npublish = false\n";
        let root = format!(
            "[workspace.package]\n{about}[workspace.dependencies]\nserde = \"1\"\n[workspace.lints.rust]\nunsafe_code = \"deny\"\n"
        );
        let alone = format!(
            "[workspace]\n[package]\nname = \"x\"\n{about}[dependencies]\nserde = {{ version = \"1\" }}\nrand = \"0.9\"\n[lints.rust]\nunsafe_code = \"deny\"\n"
        );
        let with = |alone: &str| {
            let files = [
                TextFile::new("Cargo.toml", root.as_str()),
                TextFile::new("x/Cargo.toml", alone),
            ];
            assert_eq!(packages_inherit_from_the_workspace(&files), []);
            workspaces_of_their_own_say_what_the_root_says(&files).len()
        };

        assert_eq!(with(&alone), 0);
        assert_eq!(with(&alone.replace("2024", "2021")), 1);
        assert_eq!(with(&alone.replace("deny", "allow")), 1);
        assert_eq!(with(&alone.replace("{ version = \"1\" }", "\"2\"")), 1);
    }

    #[test]
    fn a_manifest_that_is_no_toml_is_a_breach() {
        assert_eq!(
            packages_inherit_from_the_workspace(&lab("[package")).len(),
            1
        );
    }

    #[test]
    fn a_pure_crate_that_forgets_a_root_rule_or_allows_the_clock_is_a_breach() {
        let bans = "disallowed-methods = [{ path = \"std::time::Instant::now\" }, \"std::time::SystemTime::now\", { path = \"std::thread::spawn\" }]\n";
        let root = "too-many-lines-threshold = 80\ndisallowed-macros = [\"std::dbg\"]\n";
        let whole = format!("{root}{bans}");
        let with = |core: &str| {
            let mut files = vec![
                TextFile::new("clippy.toml", root),
                TextFile::new("connector-core/clippy.toml", core),
            ];
            files.extend(
                PURE[1..]
                    .iter()
                    .map(|folder| TextFile::new(format!("{folder}/clippy.toml"), whole.as_str())),
            );
            pure_crates_are_linted_more_strictly(&files)
        };

        assert_eq!(with(&whole), []);
        assert_eq!(with(&whole.replace("80", "90")).len(), 1);
        assert_eq!(with(&whole.replace("std::dbg", "std::print")).len(), 1);
        assert_eq!(with(root).len(), NOT_IN_PURE.len());
        assert_eq!(
            pure_crates_are_linted_more_strictly(&[TextFile::new("clippy.toml", root)]).len(),
            PURE.len()
        );
        assert_eq!(pure_crates_are_linted_more_strictly(&[]).len(), 1);
    }
}
