//! The rules, applied to this repository. A failing test lists every place that breaks its rule.

use std::fmt::Write;
use std::sync::LazyLock;

use tidy::graph::Graph;
use tidy::repository::{ending_in, metadata, root, text_files, top_level};
use tidy::{Breach, TextFile, documents, manifests, sources};

static FILES: LazyLock<Vec<TextFile>> =
    LazyLock::new(|| text_files().expect("the repository can be read"));
static SOURCES: LazyLock<Vec<TextFile>> = LazyLock::new(|| ending_in(&FILES, ".rs"));
static MANIFESTS: LazyLock<Vec<TextFile>> = LazyLock::new(|| ending_in(&FILES, "Cargo.toml"));
static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    let metadata = metadata().expect("cargo describes the workspace");
    Graph::read(&metadata).expect("cargo's description has the form that cargo documents")
});

#[test]
fn packages_depend_on_each_other_in_the_direction_of_the_design() {
    holds(&GRAPH.arrows_point_the_right_way());
}

#[test]
fn no_path_leads_from_a_pure_crate_to_io() {
    holds(&GRAPH.pure_crates_reach_no_io());
}

#[test]
fn only_the_tunnel_protocol_depends_on_boringtun() {
    holds(&GRAPH.only_the_tunnel_protocol_depends_on_boringtun());
}

#[test]
fn direct_dependencies_have_one_version() {
    holds(&GRAPH.direct_dependencies_have_one_version());
}

#[test]
fn refused_crates_are_not_used() {
    holds(&GRAPH.refused_crates_are_not_used());
}

#[test]
fn packages_inherit_from_the_workspace() {
    holds(&manifests::packages_inherit_from_the_workspace(&MANIFESTS));
}

#[test]
fn dependencies_come_from_the_workspace() {
    holds(&manifests::dependencies_come_from_the_workspace(&MANIFESTS));
}

#[test]
fn workspaces_of_their_own_say_what_the_root_says() {
    holds(&manifests::workspaces_of_their_own_say_what_the_root_says(
        &MANIFESTS,
    ));
}

#[test]
fn platform_dependencies_stay_in_platform_packages() {
    holds(&manifests::platform_dependencies_stay_in_platform_packages(
        &MANIFESTS,
    ));
}

#[test]
fn pure_crates_are_linted_more_strictly() {
    holds(&manifests::pure_crates_are_linted_more_strictly(
        &ending_in(&FILES, "clippy.toml"),
    ));
}

#[test]
fn boringtun_is_wrapped_in_one_file() {
    holds(&sources::boringtun_is_wrapped_in_one_file(&SOURCES));
}

#[test]
fn platform_conditions_stay_in_platform_code() {
    holds(&sources::platform_conditions_stay_in_platform_code(
        &SOURCES,
    ));
}

#[test]
fn unsafe_code_stays_in_platform_code() {
    holds(&sources::unsafe_code_stays_in_platform_code(&SOURCES));
}

#[test]
fn files_are_short() {
    holds(&sources::files_are_short(&SOURCES));
}

#[test]
fn no_file_is_called_mod() {
    holds(&sources::no_file_is_called_mod(&SOURCES));
}

#[test]
fn the_top_level_is_fixed() {
    holds(&documents::the_top_level_is_fixed(
        &top_level().expect("the root can be read"),
    ));
}

#[test]
fn no_text_names_a_private_place() {
    holds(&documents::no_text_names_a_private_place(&FILES));
}

#[test]
fn markers_for_later_say_what() {
    holds(&documents::markers_for_later_say_what(&FILES));
}

#[test]
fn the_licence_is_there() {
    holds(&documents::the_licence_is_there(&FILES));
}

#[test]
fn the_two_commands_exist() {
    holds(&documents::the_two_commands_exist(&FILES));
}

#[test]
fn links_in_documents_resolve() {
    holds(&documents::links_resolve(&FILES, |path| {
        root().join(path).exists()
    }));
}

#[track_caller]
fn holds(breaches: &[Breach]) {
    let list = breaches.iter().fold(String::new(), |mut list, breach| {
        let _ = write!(list, "\n  {breach}");
        list
    });
    assert!(
        breaches.is_empty(),
        "this rule is broken in {} places:{list}",
        breaches.len()
    );
}
