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
async fn what_the_service_is_built_with_has_it_start_anew() {
    let mut world = World::new("");

    world.manage("[proxy]\nenabled = false\n[pause]\nlimit = 5\n");
    world.follower.look().await;

    let Event::PauseRulesChanged { keys, .. } = world.queue.try_recv().unwrap() else {
        panic!("another event");
    };
    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
    assert_eq!(keys, ["pause.limit", "proxy.enabled"]);
    let Ending::Renewed(next) = world.endings.try_recv().unwrap() else {
        panic!("another ending");
    };
    assert_eq!((next.changes, next.settings.proxy_listen), (1, None));
    let renewed = world.renew(*next);
    assert_eq!(renewed.current.problem, None);
}

#[tokio::test]
async fn settings_that_the_service_cannot_start_with_are_named_and_wait_to_be_mended() {
    let mut world = World::new("");
    let before = world.start.clone();
    world.manage("[proxy]\nlisten = \"127.0.0.1:80\"\n");
    world.follower.look().await;
    let Ending::Renewed(failed) = world.endings.try_recv().unwrap() else {
        panic!("another ending");
    };

    let next = before.instead_of(*failed, &anyhow::anyhow!("The port is taken"));
    world.follower = world.renew(next);
    world.follower.look().await;

    let managed = world.managed().unwrap();
    assert_eq!(managed.problem.as_deref(), Some("The port is taken"));
    assert_eq!(managed.changes, 1);
    assert!(world.endings.try_recv().is_err());
    world.manage("");
    world.follower.look().await;
    assert_eq!(world.managed().unwrap().problem, None);
    assert!(world.endings.try_recv().is_err());
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
    sources: Sources,
    start: Renewal,
    follower: Follower,
    queue: mpsc::Receiver<Event>,
    endings: mpsc::Receiver<Ending>,
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
        let start = Renewal::at_start(sources.settings(managed.clone()).unwrap(), managed);
        let (follower, queue, endings) = follow(&sources, start.clone());
        Self {
            _root: root,
            file,
            sources,
            start,
            follower,
            queue,
            endings,
        }
    }

    /// Returns what follows in the service that comes next.
    fn renew(&mut self, next: Renewal) -> Follower {
        let follower;
        (follower, self.queue, self.endings) = follow(&self.sources, next);
        follower
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

fn follow(
    sources: &Sources,
    current: Renewal,
) -> (Follower, mpsc::Receiver<Event>, mpsc::Receiver<Ending>) {
    let (events, queue) = mpsc::channel(16);
    let (endings, ending_queue) = mpsc::channel(1);
    let config = Config {
        sources: sources.clone(),
        current,
        log: LogSwitch::default(),
        endings,
    };
    (Follower::new(config, events), queue, ending_queue)
}

/// Writes a file that nobody else may write, whatever the habits of whoever runs the tests.
fn write(path: &Path, text: &str) {
    let _ = fs::remove_file(path);
    let mut file = private::create_file(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
