//! How a machine is steered whose every change can be made, looked for and
//! undone by itself: macOS and Windows.
//!
//! [`Machine`] is what differs. The order is the same everywhere: the journal
//! before each change, the guard before the routes, the resolver last, and what
//! is no longer wanted, or was left behind by a process that died, only after
//! what is wanted is in place. So the guard has no gap, and a kill between any
//! two lines leaves nothing that the journal does not tell.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::journal::Journal;
use super::{Change, Mended, Part, Plan, RepairError, SteeringError};
use crate::private::PrivateDir;

/// A machine that can be changed step by step.
pub(super) trait Machine: Debug + Default + Send + 'static {
    /// What was changed, with all that undoing it takes.
    type Entry: Clone + Debug + DeserializeOwned + Display + PartialEq + Send + Serialize;
    /// A change to be made.
    type Step: Clone + Debug + Display + PartialEq + Send;
    /// Tells that somebody may have changed something.
    type Signals: Signals;
    /// How often everything is looked at, whatever the signals tell.
    const PERIOD: Duration;

    /// Starts listening to what others change.
    fn listen() -> io::Result<Self::Signals>;

    /// Returns what `plan` takes, in the order in which it is to be made.
    fn steps(&self, plan: &Plan) -> io::Result<Vec<Self::Step>>;

    /// Returns what the journal says of a step. Steps with the same entry
    /// replace one another.
    fn entry(step: &Self::Step) -> Self::Entry;

    /// Returns which layer a step belongs to.
    fn part(step: &Self::Step) -> Part;

    /// Returns whether `entry` must stay while `steps` are in force.
    fn is_wanted(entry: &Self::Entry, steps: &[Self::Step]) -> bool {
        steps.iter().any(|step| Self::entry(step) == *entry)
    }

    /// Makes a change whose entry is in the journal, whether it was made before
    /// or not. Whatever else has to be undone goes into the journal.
    fn make(&self, step: &Self::Step, journal: &mut Journal<Self::Entry>) -> io::Result<()>;

    /// Returns whether a change is there as it was made.
    fn is_made(&self, step: &Self::Step) -> io::Result<bool>;

    /// Undoes a change if it is there, and touches nothing of anybody else's.
    fn undo(&self, entry: &Self::Entry) -> io::Result<()>;

    /// Returns the machine's name servers but for those in `own`.
    fn upstreams(&self, own: &[IpAddr]) -> io::Result<Vec<SocketAddr>>;
}

/// Tells that somebody may have changed something.
pub(super) trait Signals: Debug + Send {
    /// Waits for the next signal. Cancelling it loses nothing.
    fn next(&mut self) -> impl Future<Output = ()> + Send;
}

/// A machine that is being steered.
#[derive(Debug)]
pub(super) struct Steering<M: Machine> {
    course: Arc<Mutex<Course<M>>>,
    mended: mpsc::Receiver<Mended>,
    upstreams: watch::Receiver<Vec<SocketAddr>>,
    signals: M::Signals,
    period: Interval,
    /// Whether something has told of a change that was not looked at yet.
    is_due: bool,
    looked: Instant,
}

impl<M: Machine> Steering<M> {
    pub(super) async fn start(state: PrivateDir, plan: Plan) -> Result<Self, SteeringError> {
        let listen = |problem| SteeringError::new("listen to changes of the network", problem);
        let signals = M::listen().map_err(listen)?;
        let (tell, mended) = mpsc::channel(MOST_UNTOLD);
        let course = blocking(move || Course::start(M::default(), state, plan, tell)).await?;
        let mut period = tokio::time::interval(M::PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        period.reset();

        Ok(Self {
            upstreams: course.upstreams.subscribe(),
            course: Arc::new(Mutex::new(course)),
            mended,
            signals,
            period,
            is_due: false,
            looked: Instant::now(),
        })
    }

    pub(super) fn change(
        &self,
        plan: Plan,
    ) -> impl Future<Output = Result<(), SteeringError>> + Send + use<M> {
        with_course(&self.course, move |course| course.change(plan))
    }

    pub(super) async fn stop(self) -> Result<(), SteeringError> {
        with_course(&self.course, Course::stop).await
    }

    pub(super) fn upstreams(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.upstreams.clone()
    }

    pub(super) async fn watch(&mut self) -> Mended {
        loop {
            tokio::select! {
                Some(mended) = self.mended.recv() => return mended,
                () = self.signals.next(), if !self.is_due => self.is_due = true,
                _ = self.period.tick(), if !self.is_due => self.is_due = true,
                () = tokio::time::sleep_until(self.looked + PAUSE), if self.is_due => {
                    self.is_due = false;
                    self.looked = Instant::now();
                    // What it finds comes back through the channels, also if
                    // nobody waits for the end of this.
                    _ = with_course(&self.course, |course| {
                        course.mend();
                        Ok(())
                    })
                    .await;
                }
            }
        }
    }
}

/// Undoes what the journal tells, or with `dry_run` only says what that is.
pub(super) fn repair<M: Machine>(
    machine: &M,
    state: &PrivateDir,
    dry_run: bool,
) -> Result<Vec<Change>, RepairError> {
    let mut journal = open::<M>(state.clone())?;
    let told = journal.entries().iter().rev();
    let changes = told.map(|entry| Change(entry.to_string())).collect();
    if !dry_run {
        undo_but_for(machine, &mut journal, &[])?;
    }
    Ok(changes)
}

/// What was made of the plan, and what is in the way of the rest.
#[derive(Debug)]
struct Course<M: Machine> {
    machine: M,
    journal: Journal<M::Entry>,
    plan: Plan,
    is_stopped: bool,
    /// The steps that were made, and that nothing has replaced.
    made: Vec<M::Step>,
    mended: mpsc::Sender<Mended>,
    upstreams: watch::Sender<Vec<SocketAddr>>,
    /// What could not be put back and was told.
    failing: BTreeMap<Part, String>,
}

impl<M: Machine> Course<M> {
    fn start(
        machine: M,
        state: PrivateDir,
        plan: Plan,
        mended: mpsc::Sender<Mended>,
    ) -> Result<Self, SteeringError> {
        let mut course = Self {
            machine,
            journal: open::<M>(state)?,
            plan: plan.clone(),
            made: Vec::new(),
            is_stopped: false,
            mended,
            upstreams: watch::Sender::default(),
            failing: BTreeMap::new(),
        };
        course.refresh_upstreams();
        course.change(plan)?;
        Ok(course)
    }

    fn change(&mut self, plan: Plan) -> Result<(), SteeringError> {
        self.plan = plan;
        let steps = self.steps()?;
        for step in &steps {
            if !self.made.contains(step) {
                self.make(step)?;
            }
        }
        self.settle(&steps)
    }

    fn stop(&mut self) -> Result<(), SteeringError> {
        self.is_stopped = true;
        self.made.clear();
        undo_but_for(&self.machine, &mut self.journal, &[])?;
        Ok(())
    }

    /// Puts back what is not as it was made.
    fn mend(&mut self) {
        if self.is_stopped {
            return;
        }
        self.refresh_upstreams();
        let steps = match self.steps() {
            Ok(steps) => steps,
            Err(error) => return self.tell(BTreeMap::from([(Part::Guard, Err(error))])),
        };
        let mut found: BTreeMap<Part, Result<(), SteeringError>> = BTreeMap::new();
        for step in &steps {
            // What cannot be looked at is taken for gone: making it again does
            // no harm, and tells why.
            let is_there =
                self.made.contains(step) && self.machine.is_made(step).unwrap_or_default();
            if is_there {
                continue;
            }
            let outcome = self.make(step);
            let of_part = found.entry(M::part(step)).or_insert(Ok(()));
            if of_part.is_ok() {
                *of_part = outcome;
            }
        }
        if let Err(error) = self.settle(&steps) {
            found.insert(Part::Guard, Err(error));
        }
        self.tell(found);
    }

    /// Passes on what was found, but no failure twice.
    fn tell(&mut self, found: BTreeMap<Part, Result<(), SteeringError>>) {
        self.failing.retain(|part, _| found.contains_key(part));
        for (part, outcome) in found {
            let problem = outcome.err().map(|error| error.to_string());
            let is_known = problem.is_some() && self.failing.get(&part) == problem.as_ref();
            match &problem {
                None => self.failing.remove(&part),
                Some(problem) => self.failing.insert(part, problem.clone()),
            };
            if !is_known {
                // Where nobody listens, the first of many findings are enough.
                _ = self.mended.try_send(Mended { part, problem });
            }
        }
    }

    fn steps(&self) -> Result<Vec<M::Step>, SteeringError> {
        let steps = self.machine.steps(&self.plan);
        steps.map_err(|problem| SteeringError::new("plan the changes to the network", problem))
    }

    fn make(&mut self, step: &M::Step) -> Result<(), SteeringError> {
        let entry = M::entry(step);
        self.made.retain(|made| M::entry(made) != entry);
        self.journal
            .record(entry)
            .and_then(|()| self.machine.make(step, &mut self.journal))
            .map_err(|problem| SteeringError::new(format!("put in place {step}"), problem))?;
        self.made.push(step.clone());
        Ok(())
    }

    /// Undoes what is no longer wanted.
    fn settle(&mut self, steps: &[M::Step]) -> Result<(), SteeringError> {
        self.made.retain(|made| steps.contains(made));
        Ok(undo_but_for(&self.machine, &mut self.journal, steps)?)
    }

    /// Passes on the machine's name servers if they are others than before. If
    /// the system does not tell, those from before are the best guess.
    fn refresh_upstreams(&self) {
        let plan = &self.plan;
        let own: Vec<IpAddr> = plan
            .device_addresses
            .iter()
            .chain(&plan.dns.servers)
            .copied()
            .collect();
        if let Ok(upstreams) = self.machine.upstreams(&own) {
            self.upstreams.send_if_modified(|before| {
                let differs = *before != upstreams;
                *before = upstreams;
                differs
            });
        }
    }
}

/// Undoes what `steps` do not need, the youngest first, and goes on after a failure.
fn undo_but_for<M: Machine>(
    machine: &M,
    journal: &mut Journal<M::Entry>,
    steps: &[M::Step],
) -> Result<(), RepairError> {
    let mut outcome = Ok(());
    let unwanted: Vec<M::Entry> = journal
        .entries()
        .iter()
        .rev()
        .filter(|entry| !M::is_wanted(entry, steps))
        .cloned()
        .collect();
    for entry in unwanted {
        let undone = machine
            .undo(&entry)
            .and_then(|()| journal.forget(|told| *told == entry));
        if let Err(problem) = undone
            && outcome.is_ok()
        {
            outcome = Err(RepairError::new(format!("undo {entry}"), problem));
        }
    }
    outcome
}

fn open<M: Machine>(state: PrivateDir) -> Result<Journal<M::Entry>, RepairError> {
    let told = |problem| RepairError::new("read the journal of changes to the network", problem);
    Journal::open(state).map_err(told)
}

fn lock<M: Machine>(course: &Mutex<Course<M>>) -> MutexGuard<'_, Course<M>> {
    // A panic half-way leaves what a kill would leave: the journal tells.
    course.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Acts on the course where blocking disturbs nobody; it is done to its end
/// even if nobody waits for it.
fn with_course<M, T, Act>(
    course: &Arc<Mutex<Course<M>>>,
    act: Act,
) -> impl Future<Output = Result<T, SteeringError>> + Send + use<M, T, Act>
where
    M: Machine,
    T: Send + 'static,
    Act: FnOnce(&mut Course<M>) -> Result<T, SteeringError> + Send + 'static,
{
    let course = Arc::clone(course);
    blocking(move || act(&mut lock(&course)))
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, SteeringError> + Send + 'static,
) -> Result<T, SteeringError> {
    let panicked = |error| SteeringError::new("change the network", io::Error::other(error));
    tokio::task::spawn_blocking(act).await.map_err(panicked)?
}

/// The least time between two looks: changes come in bursts, and our own
/// mending is told like anybody's change.
const PAUSE: Duration = Duration::from_millis(200);

/// How many findings wait to be told; there are three parts, and each is told
/// once per change.
const MOST_UNTOLD: usize = 16;

#[cfg(test)]
mod tests;
