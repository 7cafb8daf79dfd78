//! The conversation with the service, on a thread of its own.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use connector_client::{ONE_ANSWER, Service, ServiceError, companion};
use connector_ipc::{Reply, Request};
use connector_ui::choices::Choices;
use connector_ui::link;
use connector_ui::pages::{Effect, News};
use connector_ui::texts::{Language, Texts};
use connector_ui::view::Snapshot;
use eframe::egui;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::app::{Errand, clock};
use crate::first;

/// What the window hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Another window was opened for this.
    Errand(Errand),
    /// From the service.
    News(News),
}

type Tell = Arc<dyn Fn(Heard) + Send + Sync>;

/// Starts the thread; it ends with the window.
pub(crate) fn start(
    context: egui::Context,
    service: Arc<Service>,
    language: Language,
    door: Option<PathBuf>,
) -> (Receiver<Heard>, mpsc::Sender<Effect>) {
    let (tell, heard) = channel();
    let (effects, wanted) = mpsc::channel(MAX_EFFECTS);
    let tell: Tell = Arc::new(move |news| {
        // Nobody listens any more when the window closes.
        let _ = tell.send(news);
        context.request_repaint();
    });
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(run(service, language, door, wanted, tell));
        }
    });
    (heard, effects)
}

async fn run(
    service: Arc<Service>,
    language: Language,
    door: Option<PathBuf>,
    mut wanted: mpsc::Receiver<Effect>,
    tell: Tell,
) {
    let (shown, snapshots) = watch::channel(Snapshot::NotRunning);
    let (again, asked) = watch::channel(());
    let texts = Texts::new(language);
    let mut choices = Choices::new(Arc::clone(&service), again);
    let errands = Arc::clone(&tell);
    let mut beside = JoinSet::new();
    beside.spawn(follow_decisions(Arc::clone(&service), Arc::clone(&tell)));
    beside.spawn(follow_settings(Arc::clone(&service), Arc::clone(&tell)));
    beside.spawn(tell_snapshots(snapshots, Arc::clone(&tell)));
    beside.spawn(tell_time(Arc::clone(&tell)));
    if let Some(door) = door {
        beside.spawn(
            async move { first::answer(&door, |errand| errands(Heard::Errand(errand))).await },
        );
    }
    let carry_out = async {
        loop {
            tokio::select! {
                effect = wanted.recv() => match effect {
                    None => return,
                    Some(effect) => {
                        while beside.try_join_next().is_some() {}
                        carry_out(effect, &service, &mut choices, &mut beside, &texts, &tell);
                    }
                },
                outcome = choices.next() => tell_outcome(&outcome, &texts, &tell),
            }
        }
    };
    tokio::select! {
        () = link::follow(&service, &shown, asked) => {}
        () = carry_out => {}
    }
}

fn carry_out(
    effect: Effect,
    service: &Arc<Service>,
    choices: &mut Choices,
    beside: &mut JoinSet<()>,
    texts: &Texts,
    tell: &Tell,
) {
    let (service, tell) = (Arc::clone(service), Arc::clone(tell));
    match effect {
        Effect::Bundle { anonymized } => {
            let job = Bundle::new(anonymized, &service);
            beside.spawn(async move {
                let written = tokio::task::spawn_blocking(move || job.write()).await;
                let written = written.unwrap_or_else(|error| Err(Some(error.to_string())));
                tell(Heard::News(News::Bundle(written)));
            });
        }
        Effect::Challenge => {
            beside.spawn(async move {
                let answer = match service.ask(&Request::OverrideChallenge).await {
                    Ok(Reply::OverrideChallenge(report)) => Ok(report),
                    Ok(_) => Err(ServiceError::Unexpected.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                tell(Heard::News(News::Challenge(answer)));
            });
        }
        Effect::Choose(action) => {
            if let Some(outcome) = choices.start(action, clock()) {
                tell_outcome(&outcome, texts, &tell);
            }
        }
        Effect::Diagnose => {
            beside.spawn(async move {
                let answer = match service.ask(&Request::Diagnose).await {
                    Ok(Reply::Diagnosis(report)) => Ok(Box::new(report)),
                    Ok(_) => Err(ServiceError::Unexpected.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                tell(Heard::News(News::Diagnosis(answer)));
            });
        }
        Effect::Why { id, host } => {
            let request = Request::Why {
                host,
                port: None,
                program: None,
            };
            beside.spawn(async move {
                let answer = match service.ask(&request).await {
                    Ok(Reply::Access(report)) => Ok(Box::new(report)),
                    Ok(_) => Err(ServiceError::Unexpected.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                tell(Heard::News(News::Access(id, answer)));
            });
        }
        // The window does these by itself.
        Effect::Copy(_) | Effect::Keep(_) => {}
    }
}

fn tell_outcome(outcome: &connector_ui::choices::Outcome, texts: &Texts, tell: &Tell) {
    if let Some(notice) = outcome.notice(texts) {
        tell(Heard::News(News::Notice(notice)));
    }
}

async fn tell_snapshots(mut snapshots: watch::Receiver<Snapshot>, tell: Tell) {
    while snapshots.changed().await.is_ok() {
        let snapshot = snapshots.borrow_and_update().clone();
        tell(Heard::News(News::Snapshot(snapshot)));
    }
}

async fn tell_time(tell: Tell) {
    let start = Instant::now();
    let mut second = tokio::time::interval(SECOND);
    loop {
        second.tick().await;
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        tell(Heard::News(News::Time(millis)));
    }
}

/// Follows what is decided, whenever that is this user's to see.
async fn follow_decisions(service: Arc<Service>, tell: Tell) {
    let request = Request::Decisions {
        follow: true,
        denied: false,
        limit: PAST_DECISIONS,
    };
    loop {
        if let Ok(mut replies) = service.open(&request, ONE_ANSWER).await {
            tell(Heard::News(News::DecisionsAnew));
            while let Ok(Reply::Decision(decision)) = replies.next_whenever().await {
                tell(Heard::News(News::Decision(Box::new(decision))));
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn follow_settings(service: Arc<Service>, tell: Tell) {
    loop {
        let settings = match service.ask(&Request::Config).await {
            Ok(Reply::Settings(settings)) => settings,
            Ok(_) | Err(_) => Vec::new(),
        };
        tell(Heard::News(News::Settings(settings)));
        tokio::time::sleep(SETTINGS).await;
    }
}

/// The command that writes a file for whoever helps.
struct Bundle {
    command: Option<Command>,
    path: PathBuf,
}

impl Bundle {
    fn new(anonymized: bool, service: &Service) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs();
        let home = ["HOME", "USERPROFILE"].into_iter().find_map(env::var_os);
        let folder = home.map_or_else(env::temp_dir, PathBuf::from);
        let path = folder.join(format!("ztna-debug-{seconds}.tar"));
        let command = companion("ztna").map(|program| {
            let mut command = Command::new(program);
            command.args(["debug", "bundle", "--output"]).arg(&path);
            if anonymized {
                command.arg("--anonymize");
            }
            if let Some(socket) = service.named_socket() {
                command.arg("--socket").arg(socket);
            }
            command
        });
        Self { command, path }
    }

    fn write(self) -> Result<String, Option<String>> {
        let output = self
            .command
            .ok_or(None)?
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Some(error.to_string()))?;
        match output.status.success() {
            true => Ok(self.path.display().to_string()),
            false => Err(Some(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// How long after signing in what was decided is seen, and how soon a service is that is back.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How soon settings are seen when the service is back.
const SETTINGS: Duration = Duration::from_secs(3);

/// What a person looks through.
const PAST_DECISIONS: usize = 300;

/// A person presses one thing at a time.
const MAX_EFFECTS: usize = 16;
