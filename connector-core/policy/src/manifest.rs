//! The manifest: which profiles a commit has, and in which language their policies are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a commit says about its profiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What people read about the policies.
    pub metadata: About,
    /// The languages that policies are in, by the names that partitions use.
    pub runtimes: BTreeMap<String, Runtime>,
    /// The profiles by name.
    pub profiles: BTreeMap<String, Profile>,
}

impl Manifest {
    /// Reads a manifest from its blob's data.
    ///
    /// # Errors
    ///
    /// [`InvalidManifest`] if the data is no manifest, or a partition's runtime is not Cedar.
    pub fn parse(data: &[u8]) -> Result<Self, InvalidManifest> {
        let manifest: Self =
            serde_json::from_slice(data).map_err(|error| InvalidManifest::Malformed {
                error: error.to_string(),
            })?;
        for (name, profile) in &manifest.profiles {
            for (partition, described) in &profile.partitions {
                let runtime = manifest.runtimes.get(&described.runtime);
                let language = runtime.map(|runtime| runtime.language.name.as_str());
                if !matches!(language, Some("cedar" | "cedar-json")) {
                    return Err(InvalidManifest::Runtime {
                        profile: name.clone(),
                        partition: partition.clone(),
                        runtime: described.runtime.clone(),
                    });
                }
            }
        }
        Ok(manifest)
    }

    /// Returns a manifest of one profile in Cedar.
    #[must_use]
    pub fn of_profile(profile: &str, name: &str) -> Self {
        let partition = Partition {
            runtime: "cedar".into(),
            schema: true,
        };
        let runtime = Runtime {
            language: Versioned {
                name: "cedar".into(),
                version: ">=4.0.0".into(),
                distribution: None,
            },
            engine: Versioned {
                name: "ztna-connector".into(),
                version: ">=0.1.0".into(),
                distribution: None,
            },
        };
        Self {
            metadata: About {
                name: name.into(),
                ..About::default()
            },
            runtimes: BTreeMap::from([("cedar".into(), runtime)]),
            profiles: BTreeMap::from([(
                profile.into(),
                Profile {
                    partitions: BTreeMap::from([("/".into(), partition)]),
                },
            )]),
        }
    }

    /// Returns whether the manifest describes this partition of a commit's
    /// profile, whose key ends in a slash.
    #[must_use]
    pub fn describes(&self, key: &str, partition: &str) -> bool {
        let profile = self.profiles.get(key.trim_end_matches('/'));
        profile.is_some_and(|profile| profile.partitions.contains_key(partition))
    }
}

/// What people read about the policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// What they are called.
    pub name: String,
    /// What they are for.
    pub description: String,
    /// Who wrote them.
    pub author: String,
    /// Under which licence.
    pub license: String,
}

/// A language and what evaluates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The language.
    pub language: Versioned,
    /// What evaluates it.
    pub engine: Versioned,
}

/// Something with a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned {
    /// Its name.
    pub name: String,
    /// Its version, as in `>=4.0.0`.
    pub version: String,
    /// Its distribution, if it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
}

/// One profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its partitions by name; `/` is all of it.
    pub partitions: BTreeMap<String, Partition>,
}

/// One part of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The runtime's name.
    pub runtime: String,
    /// Whether a schema is beside the policies.
    pub schema: bool,
}

/// Why data is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// The data cannot be read.
    #[error("the manifest cannot be read: {error}")]
    Malformed {
        /// What the JSON parser says.
        error: String,
    },
    /// A partition's policies are in a language that is not spoken here.
    #[error(
        "the manifest's partition {partition:?} of profile {profile:?} has the runtime {runtime:?}, which is not Cedar"
    )]
    Runtime {
        /// The profile.
        profile: String,
        /// The partition.
        partition: String,
        /// Its runtime.
        runtime: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_as_permguard_writes_it_is_understood() {
        let data = br#"{"metadata":{"name":"m","description":"","author":"a","license":"MIT"},
            "runtimes":{"cedar":{"language":{"name":"cedar","version":">=0.0.0"},
              "engine":{"name":"permguard","version":">=0.0.0","distribution":"community"}}},
            "profiles":{"ztas_app":{"partitions":{"/":{"runtime":"cedar","schema":true}}}}}"#;

        let manifest = Manifest::parse(data).unwrap();

        assert!(manifest.describes("ztas_app/", "/"));
        assert!(!manifest.describes("ztas_app/", "/other"));
        assert!(!manifest.describes("other/", "/"));
    }

    #[test]
    fn another_language_and_what_is_no_manifest_are_refused() {
        let mut manifest = Manifest::of_profile("ztas_app", "test");
        manifest.runtimes.clear();
        let data = serde_json::to_vec(&manifest).unwrap();

        assert!(matches!(
            Manifest::parse(&data),
            Err(InvalidManifest::Runtime { .. })
        ));
        for data in ["", "{}", "[]", "null", &"[".repeat(100_000)] {
            assert!(Manifest::parse(data.as_bytes()).is_err());
        }
    }
}
