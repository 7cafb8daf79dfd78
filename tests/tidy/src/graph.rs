//! Rules about which package depends on which, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::Breach;

/// Which packages of ours each package of ours may name. Pure crates know nobody above them, adapters do not know one
/// another, front-ends know the messages and the conversation with the service, and only the service names two adapters.
const MAY_NAME: &[(&str, &[&str])] = &[
    (
        "connector-cli",
        &["connector-client", "connector-ipc", "connector-platform"],
    ),
    ("connector-client", &["connector-ipc", "connector-platform"]),
    ("connector-core", &[]),
    ("connector-ipc", &[]),
    ("connector-platform", &["connector-core"]),
    ("connector-policy", &["connector-core"]),
    (
        "connector-service",
        &[
            "connector-core",
            "connector-ipc",
            "connector-platform",
            "connector-policy",
            "posture",
            "proxy",
            "tunnel",
            "tunnel-proto",
        ],
    ),
    (
        "connector-ui",
        &["connector-client", "connector-ipc", "connector-platform"],
    ),
    ("e2e", &[]),
    (
        "fuzz",
        &[
            "connector-core",
            "connector-ipc",
            "connector-policy",
            "connector-service",
            "proxy",
            "tunnel-proto",
        ],
    ),
    (
        "lab",
        &[
            "connector-core",
            "connector-policy",
            "tunnel",
            "tunnel-proto",
        ],
    ),
    ("posture", &["connector-core"]),
    ("proxy", &["connector-core"]),
    ("sim", &["connector-core", "tunnel-proto"]),
    ("tidy", &[]),
    ("tunnel", &["connector-core", "tunnel-proto"]),
    ("tunnel-proto", &["connector-core"]),
    ("xtask", &["connector-policy"]),
];

/// Crates without IO, and the packages of others whose own dependencies are their business.
const PURE: &[(&str, &[&str])] = &[
    ("connector-core", &[]),
    ("connector-ipc", &[]),
    ("connector-policy", &["cedar-policy"]),
    ("tunnel-proto", &["boringtun"]),
];

/// What a pure crate must have no path to: packages by name, or by how their names begin.
const IO: &[&str] = &[
    "async-io", "hyper", "mio", "nix", "polling", "reqwest", "rustix", "socket2", "tokio",
    "windows",
];

/// What the house does without, and what it uses instead.
const REFUSED: &[(&str, &str)] = &[
    ("async-trait", "traits can have async functions"),
    ("lazy_static", "use std::sync::LazyLock"),
    ("native-tls", "use rustls"),
    ("once_cell", "use std::sync::OnceLock or LazyLock"),
    ("openssl", "use rustls"),
];

/// The packages and what they depend on.
#[derive(Debug, Default)]
pub struct Graph {
    packages: BTreeMap<String, Package>,
    members: BTreeSet<String>,
}

#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    manifest: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    package: String,
    only_for_tests: bool,
}

impl Graph {
    /// Reads what `cargo metadata --format-version 1` printed; `None` when that is not what it is.
    pub fn read(metadata: &Value) -> Option<Self> {
        let root = format!("{}/", metadata["workspace_root"].as_str()?);
        let mut graph = Self::default();
        for member in metadata["workspace_members"].as_array()? {
            graph.members.insert(member.as_str()?.to_owned());
        }
        for package in metadata["packages"].as_array()? {
            let manifest = package["manifest_path"].as_str()?;
            let described = Package {
                name: package["name"].as_str()?.to_owned(),
                version: package["version"].as_str()?.to_owned(),
                manifest: manifest.strip_prefix(&root).unwrap_or(manifest).to_owned(),
                dependencies: Vec::new(),
            };
            graph
                .packages
                .insert(package["id"].as_str()?.to_owned(), described);
        }
        for node in metadata["resolve"]["nodes"].as_array()? {
            let package = graph.packages.get_mut(node["id"].as_str()?)?;
            for edge in node["deps"].as_array()? {
                let kinds = edge["dep_kinds"].as_array()?;
                package.dependencies.push(Dependency {
                    package: edge["pkg"].as_str()?.to_owned(),
                    only_for_tests: kinds.iter().all(|kind| kind["kind"] == "dev"),
                });
            }
        }
        Some(graph)
    }

    /// Packages of ours name each other only in the direction of the design.
    pub fn arrows_point_the_right_way(&self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for member in self.members() {
            let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == member.name) else {
                let what = format!(
                    "`{}` has no place in the dependency rules: give it one in tests/tidy",
                    member.name
                );
                breaches.push(Breach::new(&member.manifest, 0, what));
                continue;
            };
            for dependency in self
                .of_ours(member)
                .filter(|dependency| !allowed.contains(dependency))
            {
                let what = format!("`{}` must not depend on `{dependency}`", member.name);
                breaches.push(Breach::new(&member.manifest, 0, what));
            }
        }
        breaches
    }

    /// No path leads from a pure crate to one that performs IO.
    pub fn pure_crates_reach_no_io(&self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for (name, wrapped) in PURE {
            for member in self.members().filter(|member| member.name == *name) {
                for path in self.paths_to_io(member, wrapped) {
                    let what = format!("a pure crate performs no IO, but there is a path {path}");
                    breaches.push(Breach::new(&member.manifest, 0, what));
                }
            }
        }
        breaches
    }

    /// Only one package depends on boringtun.
    pub fn only_the_tunnel_protocol_depends_on_boringtun(&self) -> Vec<Breach> {
        self.direct()
            .filter(|(member, dependency)| {
                dependency.name == "boringtun" && member.name != "tunnel-proto"
            })
            .map(|(member, _)| {
                Breach::new(
                    &member.manifest,
                    0,
                    "only tunnel-proto may depend on boringtun",
                )
            })
            .collect()
    }

    /// All packages of ours use the same version of whatever they depend on.
    pub fn direct_dependencies_have_one_version(&self) -> Vec<Breach> {
        let mut versions: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for (member, dependency) in self.direct() {
            versions
                .entry(&dependency.name)
                .or_default()
                .insert(&dependency.version, &member.manifest);
        }
        versions
            .into_iter()
            .filter(|(_, versions)| versions.len() > 1)
            .map(|(name, versions)| {
                let used: Vec<&str> = versions.keys().copied().collect();
                let manifest = versions.values().next().copied().unwrap_or_default();
                Breach::new(
                    manifest,
                    0,
                    format!(
                        "we use `{name}` in versions {}: choose one",
                        used.join(" and ")
                    ),
                )
            })
            .collect()
    }

    /// Nobody depends on what the house does without.
    pub fn refused_crates_are_not_used(&self) -> Vec<Breach> {
        self.direct()
            .filter_map(|(member, dependency)| {
                let (name, instead) = REFUSED.iter().find(|(name, _)| *name == dependency.name)?;
                Some(Breach::new(
                    &member.manifest,
                    0,
                    format!("`{name}` is not used here: {instead}"),
                ))
            })
            .collect()
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().filter_map(|id| self.packages.get(id))
    }

    /// Every direct dependency of a package of ours, with who depends on it.
    fn direct(&self) -> impl Iterator<Item = (&Package, &Package)> {
        self.members().flat_map(|member| {
            let packages = member
                .dependencies
                .iter()
                .filter_map(|edge| self.packages.get(&edge.package));
            packages.map(move |dependency| (member, dependency))
        })
    }

    fn of_ours<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = &'a str> {
        let ours = package
            .dependencies
            .iter()
            .filter(|edge| self.members.contains(&edge.package));
        ours.filter_map(|edge| Some(self.packages.get(&edge.package)?.name.as_str()))
    }

    /// The shortest path from a package to each package that performs IO, not through the wrapped ones.
    fn paths_to_io(&self, start: &Package, wrapped: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut waiting = VecDeque::from([(start, start.name.clone())]);
        while let Some((package, path)) = waiting.pop_front() {
            for edge in package
                .dependencies
                .iter()
                .filter(|edge| !edge.only_for_tests)
            {
                let Some(next) = self.packages.get(&edge.package) else {
                    continue;
                };
                if wrapped.contains(&next.name.as_str()) || !seen.insert(&edge.package) {
                    continue;
                }
                let path = format!("{path} → {}", next.name);
                if performs_io(&next.name) {
                    found.push(path);
                } else {
                    waiting.push_back((next, path));
                }
            }
        }
        found
    }
}

fn performs_io(name: &str) -> bool {
    IO.iter().any(|io| match name.strip_prefix(io) {
        Some(rest) => rest.is_empty() || rest.starts_with(['-', '_']),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_adapter_that_names_another_is_a_breach() {
        let graph = graph(&["proxy", "tunnel"], &[("proxy", "tunnel", "normal")]);

        let breaches = graph.arrows_point_the_right_way();

        assert_eq!(whats(&breaches), ["`proxy` must not depend on `tunnel`"]);
        assert_eq!(breaches[0].file, "proxy/Cargo.toml");
    }

    #[test]
    fn a_front_end_that_names_the_core_even_for_tests_is_a_breach() {
        let graph = graph(
            &["connector-cli", "connector-core"],
            &[("connector-cli", "connector-core", "dev")],
        );

        assert_eq!(
            whats(&graph.arrows_point_the_right_way()),
            ["`connector-cli` must not depend on `connector-core`"]
        );
    }

    #[test]
    fn the_service_may_name_the_adapters() {
        let graph = graph(
            &["connector-service", "tunnel"],
            &[("connector-service", "tunnel", "normal")],
        );

        assert_eq!(graph.arrows_point_the_right_way(), []);
    }

    #[test]
    fn a_package_without_a_rule_is_a_breach() {
        assert_eq!(
            graph(&["newcomer"], &[]).arrows_point_the_right_way().len(),
            1
        );
    }

    #[test]
    fn a_pure_crate_with_a_long_path_to_io_is_a_breach_that_names_the_path() {
        let graph = graph(
            &["connector-core"],
            &[
                ("connector-core", "client", "normal"),
                ("client", "tokio-util", "normal"),
                ("tokio-util", "tokio", "normal"),
            ],
        );

        let breaches = graph.pure_crates_reach_no_io();

        assert_eq!(
            whats(&breaches),
            [
                "a pure crate performs no IO, but there is a path connector-core → client → tokio-util"
            ]
        );
    }

    #[test]
    fn tests_of_a_pure_crate_may_perform_io() {
        let graph = graph(&["connector-ipc"], &[("connector-ipc", "tokio", "dev")]);

        assert_eq!(graph.pure_crates_reach_no_io(), []);
    }

    #[test]
    fn what_boringtun_depends_on_is_excused_and_the_same_on_another_path_is_not() {
        let through = graph(
            &["tunnel-proto"],
            &[
                ("tunnel-proto", "boringtun", "normal"),
                ("boringtun", "nix", "normal"),
            ],
        );
        let beside = graph(
            &["tunnel-proto"],
            &[
                ("tunnel-proto", "socket2", "normal"),
                ("socket2", "windows-sys", "normal"),
            ],
        );

        assert_eq!(through.pure_crates_reach_no_io(), []);
        assert_eq!(beside.pure_crates_reach_no_io().len(), 1);
    }

    #[test]
    fn a_name_that_only_begins_like_io_is_not_io() {
        assert!(performs_io("windows_x86_64_gnu") && performs_io("tokio"));
        assert!(!performs_io("miow-like") && !performs_io("tokiox") && !performs_io("hyperloglog"));
    }

    #[test]
    fn boringtun_elsewhere_is_a_breach() {
        let graph = graph(
            &["lab", "tunnel-proto"],
            &[
                ("lab", "boringtun", "normal"),
                ("tunnel-proto", "boringtun", "normal"),
            ],
        );

        let breaches = graph.only_the_tunnel_protocol_depends_on_boringtun();

        assert_eq!(
            breaches
                .iter()
                .map(|breach| breach.file.as_str())
                .collect::<Vec<_>>(),
            ["lab/Cargo.toml"]
        );
    }

    #[test]
    fn two_versions_of_a_direct_dependency_are_a_breach_and_of_an_indirect_one_are_none() {
        let graph = graph(
            &["lab", "proxy"],
            &[
                ("lab", "http@1.0.0", "normal"),
                ("proxy", "http@0.2.0", "normal"),
                ("http@1.0.0", "x@1.0.0", "normal"),
                ("http@0.2.0", "x@2.0.0", "normal"),
            ],
        );

        assert_eq!(
            whats(&graph.direct_dependencies_have_one_version()),
            ["we use `http` in versions 0.2.0 and 1.0.0: choose one"]
        );
    }

    #[test]
    fn a_refused_crate_is_a_breach_that_says_what_to_use() {
        let graph = graph(&["lab"], &[("lab", "lazy_static", "normal")]);

        assert_eq!(
            whats(&graph.refused_crates_are_not_used()),
            ["`lazy_static` is not used here: use std::sync::LazyLock"]
        );
    }

    #[test]
    fn what_is_not_metadata_is_not_read() {
        assert!(Graph::read(&json!({})).is_none());
    }

    fn whats(breaches: &[Breach]) -> Vec<&str> {
        breaches.iter().map(|breach| breach.what.as_str()).collect()
    }

    /// A graph of these members and edges (from, to, kind); a package is `name` or `name@version`.
    fn graph(members: &[&str], edges: &[(&str, &str, &str)]) -> Graph {
        let ids: BTreeSet<&str> = members
            .iter()
            .copied()
            .chain(edges.iter().flat_map(|(from, to, _)| [*from, *to]))
            .collect();
        let package = |id: &&str| {
            let (name, version) = id.split_once('@').unwrap_or((id, "1.0.0"));
            json!({ "id": id, "name": name, "version": version, "manifest_path": format!("/r/{name}/Cargo.toml") })
        };
        let node = |id: &&str| {
            let deps = edges
                .iter()
                .filter(|(from, ..)| from == id)
                .map(|(_, to, kind)| {
                    let kind = if *kind == "normal" {
                        Value::Null
                    } else {
                        json!(kind)
                    };
                    json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] })
                });
            json!({ "id": id, "deps": deps.collect::<Vec<_>>() })
        };
        Graph::read(&json!({
            "workspace_root": "/r",
            "workspace_members": members,
            "packages": ids.iter().map(package).collect::<Vec<_>>(),
            "resolve": { "nodes": ids.iter().map(node).collect::<Vec<_>>() },
        }))
        .unwrap()
    }
}
