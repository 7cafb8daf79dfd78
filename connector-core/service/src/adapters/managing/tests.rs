use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use connector_platform::paths::Paths;
use connector_platform::private;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;

#[tokio::test]
async fn what_changes_live_is_in_force_at_once_and_announced() {
    let mut world = World::new("");
    assert_eq!(world.managed(), None);

    world.manage("[always_on]\nenabled = true\n[managed]\nby = \"Corp IT\"\n[support]\naddress = \"help@corp.test\"\n");
    world.follower.look().await;

    let managed = world.managed().unwrap();
    assert!(managed.always_on && !managed.pause_allowed);
    assert_eq!(
        (managed.by.as_str(), managed.changes, &managed.problem),
        ("Corp IT", 1, &None)
    );
    assert!(managed.needs_restart.is_empty());
    let in_force = world.in_force();
    assert_eq!(in_force.support.as_deref(), Some("help@corp.test"));
    let setting = in_force
        .report
        .iter()
        .find(|setting| setting.key == "always_on.enabled")
        .unwrap();
    assert!(setting.locked && setting.value == "true", "{setting:?}");
    let Event::PauseRulesChanged { rules, keys } = world.queue.try_recv().unwrap() else {
        panic!("another event");
    };
    assert!(rules.is_always_on);
    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
    assert_eq!(keys, ["always_on.enabled", "support.address", "managed.by"]);
}

#[tokio::test]
async fn what_counts_from_the_next_start_is_told_until_it_is_taken_back() {
    let mut world = World::new("");

    world.manage("[proxy]\nenabled = false\n");
    world.follower.look().await;
    assert_eq!(world.managed().unwrap().needs_restart, ["proxy.enabled"]);
    world.manage("");
    world.follower.look().await;

    let managed = world.managed().unwrap();
    assert!(managed.needs_restart.is_empty());
    assert_eq!(managed.changes, 2);
}

#[tokio::test]
async fn what_cannot_be_used_leaves_the_last_good_settings_in_force() {
    for broken in [
        "[always_on]\nenabled = \"no\"\n",
        "[always_on\n",
        "[pause]\nlimit = 0\n",
        "[pause]\nlimt = 5\n",
        "[managed]\nby = \"a\\nb\"\n",
    ] {
        let mut world = World::new("[always_on]\nenabled = true\n");

        world.manage(broken);
        world.follower.look().await;

        let managed = world.managed().unwrap();
        assert!(managed.always_on, "{broken}");
        let problem = managed.problem.unwrap();
        assert!(problem.contains("managed.toml"), "{problem}");
        assert!(world.queue.try_recv().is_err(), "{broken}");
        world.manage("[always_on]\nenabled = true\n");
        world.follower.look().await;
        assert_eq!(world.managed().unwrap().problem, None);
    }
}

#[tokio::test]
async fn the_same_settings_in_other_words_are_no_change() {
    let mut world = World::new("[pause]\nlimit = 30\n");

    world.manage("# Half an hour.\npause.limit = 30\n");
    world.follower.look().await;

    assert!(world.queue.try_recv().is_err());
    let managed = world.managed().unwrap();
    assert_eq!((managed.changes, managed.pause_limit), (0, Some(30)));
}

#[tokio::test]
async fn a_file_that_goes_unlocks_everything() {
    let mut world = World::new("[always_on]\nenabled = true\n");

    fs::remove_file(&world.file).unwrap();
    world.follower.look().await;

    let managed = world.managed().unwrap();
    assert!(!managed.always_on && managed.pause_allowed);
    assert!(world.in_force().report.iter().all(|one| !one.locked));
}

struct World {
    _root: TempDir,
    file: PathBuf,
    follower: Follower,
    queue: mpsc::Receiver<Event>,
}

impl World {
    fn new(managed: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("managed.toml");
        write(&file, managed);
        let config = root.path().join("ztna.toml");
        write(
            &config,
            "[control_plane]\nurl = \"https://cp.corp.test\"\npolicy_key = \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"\ndns_suffixes = [\"corp.test\"]\n",
        );
        let paths = Paths {
            admin_config: root.path().join("none.toml"),
            user_config: None,
            ..Paths::system()
        };
        let flags = std::collections::BTreeMap::new();
        let sources =
            Sources::collect(&paths, Some(&file), Some(&config), flags, |_| None).unwrap();
        let managed = sources.read_managed().unwrap();
        let (events, queue) = mpsc::channel(16);
        let config = Config {
            settings: sources.settings(managed.clone()).unwrap(),
            sources,
            managed,
            level: LevelSwitch::default(),
        };
        Self {
            _root: root,
            file,
            follower: Follower::new(config, events),
            queue,
        }
    }

    fn manage(&self, text: &str) {
        write(&self.file, text);
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.follower.shown.borrow())
    }

    fn managed(&self) -> Option<ManagedReport> {
        self.in_force().managed.clone()
    }
}

/// Writes a file that nobody else may write, whatever the habits of whoever runs the tests.
fn write(path: &Path, text: &str) {
    let _ = fs::remove_file(path);
    let mut file = private::create_file(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
