//! What the programs are made of: a bill of materials in CycloneDX 1.5, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// A crate that the programs are linked from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a>(&'a Value);

impl<'a> Part<'a> {
    /// Its name.
    pub(crate) fn name(self) -> &'a str {
        self.0["name"].as_str().unwrap_or_default()
    }

    /// Its version.
    pub(crate) fn version(self) -> &'a str {
        self.0["version"].as_str().unwrap_or_default()
    }

    /// Its licence, as an SPDX expression.
    pub(crate) fn licence(self) -> &'a str {
        self.0["license"].as_str().unwrap_or_default()
    }

    /// Its manifest's path.
    pub(crate) fn manifest(self) -> &'a str {
        self.0["manifest_path"].as_str().unwrap_or_default()
    }

    /// Whether it comes from this repository.
    pub(crate) fn is_ours(self) -> bool {
        self.0["source"].is_null()
    }

    fn id(self) -> &'a str {
        self.0["id"].as_str().unwrap_or_default()
    }

    fn url(self) -> String {
        format!("pkg:cargo/{}@{}", self.name(), self.version())
    }
}

/// Returns every crate that ends up in these packages' programs, by name and version: no tools of the build, no tests.
pub(crate) fn parts<'a>(metadata: &'a Value, programs: &[&str]) -> Vec<Part<'a>> {
    let all: Vec<Part<'a>> = list(&metadata["packages"]).map(Part).collect();
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let mut waiting: Vec<&str> = all
        .iter()
        .filter(|part| part.is_ours() && programs.contains(&part.name()))
        .map(|part| part.id())
        .collect();
    let mut linked: BTreeSet<&str> = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if linked.insert(id)
            && let Some(node) = nodes.get(id)
        {
            waiting.extend(dependencies(node));
        }
    }
    let mut parts: Vec<Part<'a>> = all
        .into_iter()
        .filter(|part| linked.contains(part.id()))
        .collect();
    parts.sort_by_key(|part| (part.name(), part.version()));
    parts
}

/// Returns what two workspaces say together; what both use depends on what it does in either.
pub(crate) fn merge(mut one: Value, other: Value) -> Value {
    add(&mut one["packages"], &other["packages"], |_, _| {});
    let nodes = &other["resolve"]["nodes"];
    add(&mut one["resolve"]["nodes"], nodes, |node, theirs| {
        for dependency in list(&theirs["deps"]) {
            if let Some(deps) = node["deps"].as_array_mut()
                && deps.iter().all(|known| known["pkg"] != dependency["pkg"])
            {
                deps.push(dependency.clone());
            }
        }
    });
    one
}

/// Adds what has another id; `both` sees what has the same.
fn add(to: &mut Value, more: &Value, both: impl Fn(&mut Value, &Value)) {
    let Some(all) = to.as_array_mut() else { return };
    for item in list(more) {
        match all.iter_mut().find(|known| known["id"] == item["id"]) {
            Some(known) => both(known, item),
            None => all.push(item.clone()),
        }
    }
}

/// Returns the bill of materials.
pub(crate) fn bill(metadata: &Value, programs: &[&str], version: &str) -> Value {
    let parts = parts(metadata, programs);
    let urls: BTreeMap<&str, String> = parts.iter().map(|part| (part.id(), part.url())).collect();
    let components: Vec<Value> = parts.iter().map(|part| component(*part)).collect();
    let dependencies: Vec<Value> = list(&metadata["resolve"]["nodes"])
        .filter_map(|node| {
            let url = urls.get(node["id"].as_str()?)?;
            let below: BTreeSet<&String> =
                dependencies(node).filter_map(|id| urls.get(id)).collect();
            Some(json!({"ref": url, "dependsOn": below}))
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "ztna", "version": version}},
        "components": components,
        "dependencies": dependencies,
    })
}

fn component(part: Part<'_>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": part.url(),
        "name": part.name(),
        "version": part.version(),
    });
    if !part.licence().is_empty() {
        // Old manifests write a slash for "or".
        let expression = part.licence().replace('/', " OR ");
        component["licenses"] = json!([{"expression": expression}]);
    }
    if !part.is_ours() {
        component["purl"] = part.url().into();
    }
    component
}

/// Those that are linked: of the usual kind, for this system.
fn dependencies(node: &Value) -> impl Iterator<Item = &str> {
    list(&node["deps"])
        .filter(|edge| list(&edge["dep_kinds"]).any(|kind| kind["kind"].is_null()))
        .filter_map(|edge| edge["pkg"].as_str())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_workspaces_use_is_there_once_with_all_that_it_leads_to() {
        let workspace = |deps: &[&str]| {
            let deps: Vec<Value> = deps.iter().map(|id| json!({"pkg": id})).collect();
            json!({
                "packages": [{"id": "a"}],
                "resolve": {"nodes": [{"id": "a", "deps": deps}]},
            })
        };
        let mut other = workspace(&["b", "c"]);
        other["packages"] = json!([{"id": "a"}, {"id": "c"}]);

        let merged = merge(workspace(&["b"]), other);

        assert_eq!(merged["packages"], json!([{"id": "a"}, {"id": "c"}]));
        let nodes = json!([{"id": "a", "deps": [{"pkg": "b"}, {"pkg": "c"}]}]);
        assert_eq!(merged["resolve"]["nodes"], nodes);
    }

    #[test]
    fn what_is_linked_is_in_the_bill_and_tools_and_tests_are_not() {
        let metadata = world();

        let bill = bill(&metadata, &["service"], "1.2.3");

        let names: Vec<&str> = list(&bill["components"])
            .filter_map(|component| component["name"].as_str())
            .collect();
        assert_eq!(names, ["linked", "service"]);
        assert_eq!(bill["components"][0]["purl"], "pkg:cargo/linked@2.0.0");
        assert_eq!(
            bill["components"][0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        assert_eq!(bill["components"][1].get("purl"), None);
        assert_eq!(bill["metadata"]["component"]["version"], "1.2.3");
        assert_eq!(
            bill["dependencies"][0]["dependsOn"][0],
            "pkg:cargo/linked@2.0.0"
        );
    }

    fn world() -> Value {
        let package = |name: &str, version: &str, source: Option<&str>| json!({"id": name, "name": name, "version": version, "license": "MIT/Apache-2.0", "source": source});
        let edge =
            |name: &str, kind: Option<&str>| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        json!({
            "packages": [
                package("service", "1.0.0", None),
                package("linked", "2.0.0", Some("registry")),
                package("tested", "3.0.0", Some("registry")),
                package("built", "4.0.0", Some("registry")),
            ],
            "resolve": {"nodes": [
                {"id": "service", "deps": [edge("linked", None), edge("tested", Some("dev")), edge("built", Some("build"))]},
                {"id": "linked", "deps": []},
                {"id": "tested", "deps": []},
                {"id": "built", "deps": []},
            ]},
        })
    }
}
