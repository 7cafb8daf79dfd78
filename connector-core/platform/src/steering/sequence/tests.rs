use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use tempfile::TempDir;

use super::*;
use crate::steering::Dns;

#[test]
fn the_guard_is_made_first_and_everything_is_undone_in_reverse() {
    let desk = Desk::new();
    let mut course = desk.start(&plan(&["10.0.0.0/8", "fd00::/8"]));

    course.stop().unwrap();

    assert_eq!(
        desk.log(),
        [
            "make guard",
            "make route 10.0.0.0/8",
            "make route fd00::/8",
            "make resolver",
            "undo resolver",
            "undo route fd00::/8",
            "undo route 10.0.0.0/8",
            "undo guard",
        ]
    );
    assert_eq!(desk.world(), foreign());
    assert!(!desk.journal_exists());
}

#[test]
fn a_change_touches_only_what_differs_and_widens_the_guard_before_the_routes() {
    let desk = Desk::new();
    let mut course = desk.start(&plan(&["10.0.0.0/8", "fd00::/8"]));
    desk.log();

    course
        .change(plan(&["10.0.0.0/8", "192.0.2.0/24"]))
        .unwrap();

    assert_eq!(
        desk.log(),
        [
            "make guard",
            "make route 192.0.2.0/24",
            "undo route fd00::/8",
        ]
    );
    assert_eq!(desk.world()["guard"], "10.0.0.0/8 192.0.2.0/24");
    course
        .change(plan(&["10.0.0.0/8", "192.0.2.0/24"]))
        .unwrap();
    assert_eq!(desk.log(), Vec::<String>::new());
}

#[test]
fn a_change_that_failed_is_completed_by_the_next_call() {
    let desk = Desk::new();
    let mut course = desk.start(&plan(&["10.0.0.0/8"]));
    desk.refuse("route fd00::/8");
    let wanted = plan(&["fd00::/8"]);

    let error = course.change(wanted.clone()).unwrap_err();
    desk.refuse("");
    course.change(wanted).unwrap();

    assert_eq!(
        error.to_string(),
        "cannot put in place route fd00::/8: refused"
    );
    assert!(desk.world().contains_key("route fd00::/8"));
    assert!(!desk.world().contains_key("route 10.0.0.0/8"));
}

#[test]
fn a_kill_at_any_step_leaves_nothing_that_repair_does_not_undo() {
    let first = plan(&["10.0.0.0/8", "fd00::/8"]);
    let second = plan(&["192.0.2.0/24"]);
    let mut kills = 0;
    for at in 0.. {
        let desk = Desk::new();
        desk.kill_at(at);
        let killed = catch_unwind(AssertUnwindSafe(|| {
            let mut course = desk.start(&first);
            course.change(second.clone()).unwrap();
            course.stop().unwrap();
        }));
        desk.live_on();
        if killed.is_ok() {
            break;
        }
        kills += 1;

        let told = repair(&desk.machine(), &desk.state(), true).unwrap();
        let world = desk.world();
        let ours = world.keys().filter(|key| !foreign().contains_key(*key));
        for key in ours {
            assert!(told.iter().any(|change| change.0 == *key), "{at}: {key}");
        }
        assert_eq!(repair(&desk.machine(), &desk.state(), false).unwrap(), told);
        assert_eq!(desk.world(), foreign(), "killed at {at}");
        assert_eq!(repair(&desk.machine(), &desk.state(), false).unwrap(), []);
    }
    assert!(kills >= 10, "only {kills} points were tried");
}

#[test]
fn a_service_that_comes_back_keeps_the_guard_up_and_removes_the_left_overs() {
    let desk = Desk::new();
    drop(desk.start(&plan(&["10.0.0.0/8", "fd00::/8"])));
    desk.log();

    let _course = desk.start(&plan(&["10.0.0.0/8"]));

    let log = desk.log();
    assert!(!log.contains(&"undo guard".to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), "undo route fd00::/8");
    assert_eq!(desk.world()["guard"], "10.0.0.0/8");
}

#[test]
fn what_somebody_else_undid_is_put_back_and_told_once() {
    let desk = Desk::new();
    let mut course = desk.start(&plan(&["10.0.0.0/8", "fd00::/8"]));
    desk.remove("route 10.0.0.0/8");
    desk.remove("route fd00::/8");
    desk.remove("guard");

    course.mend();
    course.mend();

    let mended = desk.told();
    let whole = |part| Mended {
        part,
        problem: None,
    };
    assert_eq!(mended, [whole(Part::Guard), whole(Part::Routes)]);
    assert!(desk.world().contains_key("route fd00::/8"));
}

#[test]
fn what_cannot_be_put_back_is_told_once_and_again_when_it_can() {
    let desk = Desk::new();
    let mut course = desk.start(&plan(&["10.0.0.0/8"]));
    desk.remove("resolver");
    desk.refuse("resolver");

    course.mend();
    course.mend();
    desk.refuse("");
    course.mend();

    let told = desk.told();
    let problems: Vec<bool> = told.iter().map(|one| one.problem.is_some()).collect();
    assert_eq!(problems, [true, false]);
}

#[test]
fn a_refusal_to_undo_one_change_does_not_keep_the_others() {
    let desk = Desk::new();
    drop(desk.start(&plan(&["10.0.0.0/8", "fd00::/8"])));
    desk.refuse("route fd00::/8");

    let error = repair(&desk.machine(), &desk.state(), false).unwrap_err();
    desk.refuse("");
    let rest = repair(&desk.machine(), &desk.state(), true).unwrap();

    assert_eq!(error.to_string(), "cannot undo route fd00::/8: refused");
    assert_eq!(rest, [Change("route fd00::/8".to_owned())]);
}

#[test]
fn findings_that_nobody_reads_are_bounded() {
    let desk = Desk::new();
    let mut course = desk.start(&plan(&["10.0.0.0/8"]));
    for _ in 0..100 {
        desk.remove("guard");
        course.mend();
    }

    assert_eq!(desk.told().len(), MOST_UNTOLD);
}

#[test]
fn a_look_that_comes_after_the_end_puts_nothing_back() {
    let desk = Desk::new();
    let mut course = desk.start(&plan(&["10.0.0.0/8"]));
    course.stop().unwrap();

    course.mend();

    assert_eq!(desk.world(), foreign());
}

#[test]
fn the_machines_name_servers_are_told_as_they_change_and_the_stub_never() {
    let desk = Desk::new();
    let servers = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    *lenient(&desk.world.servers) = servers(&["192.0.2.1:53"]);
    let mut course = desk.start(&plan(&["10.0.0.0/8"]));
    let mut told = course.upstreams.subscribe();
    assert_eq!(*told.borrow_and_update(), servers(&["192.0.2.1:53"]));

    course.mend();
    assert!(!told.has_changed().unwrap());
    *lenient(&desk.world.servers) = servers(&["100.64.0.1:53", "192.0.2.2:53"]);
    course.mend();

    assert_eq!(*told.borrow_and_update(), servers(&["192.0.2.2:53"]));
}

#[tokio::test]
async fn what_was_changed_is_put_back_and_told_even_if_waiting_is_cancelled_again_and_again() {
    let root = tempfile::tempdir().unwrap();
    let state = PrivateDir::open(&root.path().join("state")).unwrap();
    let mut steering: Steering<Fake> = Steering::start(state, plan(&["10.0.0.0/8"])).await.unwrap();
    assert_eq!(*steering.upstreams().borrow(), []);
    steering.change(plan(&["192.0.2.0/24"])).await.unwrap();
    {
        let course = lock(&steering.course);
        lenient(&course.machine.world().parts).remove("guard");
    }

    let begun = Instant::now();
    let mended = loop {
        let step = Duration::from_millis(5);
        if let Ok(mended) = tokio::time::timeout(step, steering.watch()).await {
            break mended;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is told");
    };

    assert_eq!(mended.part, Part::Guard);
    steering.stop().await.unwrap();
}

/// A state directory and a machine, both of which outlive the service.
struct Desk {
    dir: TempDir,
    world: Arc<World>,
    tell: mpsc::Sender<Mended>,
    told: Mutex<mpsc::Receiver<Mended>>,
}

#[derive(Debug, Default)]
struct World {
    parts: Mutex<BTreeMap<String, String>>,
    log: Mutex<Vec<String>>,
    refused: Mutex<String>,
    servers: Mutex<Vec<SocketAddr>>,
    until_kill: Mutex<Option<u32>>,
}

impl Desk {
    fn new() -> Self {
        let (tell, told) = mpsc::channel(MOST_UNTOLD);
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
            world: Arc::default(),
            tell,
            told: Mutex::new(told),
        };
        *desk.world.parts.lock().unwrap() = foreign();
        desk
    }

    fn machine(&self) -> Fake {
        Fake(Arc::clone(&self.world))
    }

    fn state(&self) -> PrivateDir {
        PrivateDir::open(&self.dir.path().join("state")).unwrap()
    }

    fn start(&self, plan: &Plan) -> Course<Fake> {
        let tell = self.tell.clone();
        Course::start(self.machine(), self.state(), plan.clone(), tell).unwrap()
    }

    fn told(&self) -> Vec<Mended> {
        let mut told = lenient(&self.told);
        std::iter::from_fn(|| told.try_recv().ok()).collect()
    }

    fn journal_exists(&self) -> bool {
        self.state().path("steering.json").exists()
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut *self.world.log.lock().unwrap())
    }

    fn world(&self) -> BTreeMap<String, String> {
        lenient(&self.world.parts).clone()
    }

    fn remove(&self, part: &str) {
        assert!(lenient(&self.world.parts).remove(part).is_some(), "{part}");
    }

    fn refuse(&self, part: &str) {
        *self.world.refused.lock().unwrap() = part.to_owned();
    }

    fn kill_at(&self, at: u32) {
        *lenient(&self.world.until_kill) = Some(at);
    }

    fn live_on(&self) {
        *lenient(&self.world.until_kill) = None;
    }
}

#[derive(Debug, Default)]
struct Fake(Arc<World>);

impl Fake {
    fn world(&self) -> &World {
        &self.0
    }

    /// Does `act` unless the process is killed right before or right after it.
    fn change(&self, verb: &str, part: &str, act: impl FnOnce(&World)) -> io::Result<()> {
        let world = self.world();
        if *lenient(&world.refused) == part {
            return Err(io::Error::other("refused"));
        }
        self.live();
        lenient(&world.log).push(format!("{verb} {part}"));
        act(world);
        self.live();
        Ok(())
    }

    fn live(&self) {
        match &mut *lenient(&self.world().until_kill) {
            None => {}
            Some(0) => panic!("killed, as the test wants"),
            Some(left) => *left -= 1,
        }
    }
}

impl Machine for Fake {
    type Entry = Entry;
    type Step = Step;
    type Signals = Silence;
    const PERIOD: Duration = Duration::from_millis(50);

    fn listen() -> io::Result<Silence> {
        Ok(Silence)
    }

    fn steps(&self, plan: &Plan) -> io::Result<Vec<Step>> {
        let texts: Vec<String> = plan.prefixes.iter().map(ToString::to_string).collect();
        let step = |part: &str, content: &str| Step {
            part: part.to_owned(),
            content: content.to_owned(),
        };
        let mut steps = vec![step("guard", &texts.join(" "))];
        steps.extend(texts.iter().map(|text| step(&format!("route {text}"), "")));
        steps.push(step("resolver", ""));
        Ok(steps)
    }

    fn entry(step: &Step) -> Entry {
        Entry(step.part.clone())
    }

    fn part(step: &Step) -> Part {
        match step.part.as_str() {
            "guard" => Part::Guard,
            "resolver" => Part::Resolver,
            _ => Part::Routes,
        }
    }

    fn make(&self, step: &Step, journal: &mut Journal<Entry>) -> io::Result<()> {
        assert!(journal.entries().contains(&Entry(step.part.clone())));
        self.change("make", &step.part, |world| {
            let mut parts = lenient(&world.parts);
            parts.insert(step.part.clone(), step.content.clone());
        })
    }

    fn is_made(&self, step: &Step) -> io::Result<bool> {
        Ok(lenient(&self.world().parts).get(&step.part) == Some(&step.content))
    }

    fn undo(&self, entry: &Entry) -> io::Result<()> {
        self.change("undo", &entry.0, |world| {
            lenient(&world.parts).remove(&entry.0);
        })
    }

    fn upstreams(&self, own: &[IpAddr]) -> io::Result<Vec<SocketAddr>> {
        let servers = lenient(&self.world().servers).clone();
        Ok(servers
            .into_iter()
            .filter(|server| !own.contains(&server.ip()))
            .collect())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry(String);

impl Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Step {
    part: String,
    content: String,
}

impl Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.part)
    }
}

#[derive(Debug)]
struct Silence;

impl Signals for Silence {
    async fn next(&mut self) {
        std::future::pending().await
    }
}

/// What others have made of the machine.
fn foreign() -> BTreeMap<String, String> {
    BTreeMap::from([("route 0.0.0.0/0".to_owned(), "another's".to_owned())])
}

fn plan(prefixes: &[&str]) -> Plan {
    Plan {
        device: "utun7".to_owned(),
        device_addresses: vec!["100.64.0.1".parse().unwrap()],
        prefixes: prefixes.iter().map(|text| text.parse().unwrap()).collect(),
        dns: Dns::default(),
    }
}

fn lenient<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
