//! Follows what the service says, and goes on when it has been away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use connector_client::{ONE_ANSWER, Replies, Service, ServiceError};
use connector_ipc::{
    AccessRequestReport, AccessRequestStatus, BehindReport, DecisionReport, Reply, Request, Status,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::view::{Known, Snapshot};

/// Shows what the service says, for ever; `asked` says when to look at everything again.
pub async fn follow(
    service: &Arc<Service>,
    shown: &watch::Sender<Snapshot>,
    mut asked: watch::Receiver<()>,
) {
    loop {
        // Whatever went wrong, what it said is no longer known to be so.
        let _ = converse(service, shown, &mut asked).await;
        shown.send_if_modified(|snapshot| {
            let changed = *snapshot != Snapshot::NotRunning;
            *snapshot = Snapshot::NotRunning;
            changed
        });
        tokio::time::sleep(RETRY).await;
    }
}

/// What the service said, or that it went.
enum Heard {
    /// What was refused is not this user's to see, or no longer.
    Closed,
    Gone,
    Refused(Box<DecisionReport>),
    Requests(Vec<AccessRequestReport>),
    Status(Box<Status>),
}

async fn converse(
    service: &Arc<Service>,
    shown: &watch::Sender<Snapshot>,
    asked: &mut watch::Receiver<()>,
) -> Result<(), ServiceError> {
    let statuses = service
        .open(&Request::Status { follow: true }, ONE_ANSWER)
        .await?;
    let (hear, mut heard) = mpsc::channel(MAX_HEARD);
    // They end with this conversation.
    let mut listeners = JoinSet::new();
    listeners.spawn(listen(statuses, hear.clone()));
    listeners.spawn(listen_for_refusals(Arc::clone(service), hear.clone()));
    listeners.spawn(ask_for_requests(Arc::clone(service), asked.clone(), hear));

    let mut known: Option<Known> = None;
    let mut refused = VecDeque::new();
    let mut look_again = tokio::time::interval(LOOK_AGAIN);
    loop {
        let is_stale = tokio::select! {
            heard = heard.recv() => match heard {
                Some(Heard::Status(status)) => take_status(&mut known, *status),
                Some(Heard::Closed) => {
                    refused.clear();
                    true
                }
                Some(Heard::Refused(decision)) => {
                    refused.push_back(*decision);
                    if refused.len() > MAX_REFUSED {
                        refused.pop_front();
                    }
                    true
                }
                Some(Heard::Requests(requests)) => {
                    if let Some(known) = &mut known {
                        known.requests = requests;
                    }
                    false
                }
                Some(Heard::Gone) | None => return Ok(()),
            },
            _ = look_again.tick() => true,
            changed = asked.changed() => changed.is_ok(),
        };
        let Some(known) = &mut known else { continue };
        if is_stale {
            match timeout(LOOK_LIMIT, look(service, known)).await {
                Ok(looked) => looked?,
                // One that hangs is as good as none, and its last word may be wrong by now.
                Err(_) => return Ok(()),
            }
        }
        known.refused = refused.iter().cloned().collect();
        let snapshot = Snapshot::Running(Box::new(known.clone()));
        shown.send_if_modified(|before| {
            let changed = *before != snapshot;
            *before = snapshot;
            changed
        });
    }
}

/// Takes a new status; returns whether more than its counters changed.
fn take_status(known: &mut Option<Known>, status: Status) -> bool {
    let Some(known) = known else {
        *known = Some(Known::new(status));
        return true;
    };
    let before = std::mem::replace(&mut known.status, status);
    without_counters(before) != without_counters(known.status.clone())
}

fn without_counters(mut status: Status) -> Status {
    status.records = None;
    status.tunnel.dropped = 0;
    for gateway in status
        .tunnel
        .sites
        .iter_mut()
        .flat_map(|site| &mut site.gateways)
    {
        gateway.last_handshake = None;
        gateway.handshake_micros = None;
        if let Some(BehindReport::Answers { micros }) = &mut gateway.behind {
            *micros = 0;
        }
        (gateway.rx_bytes, gateway.tx_bytes) = (0, 0);
    }
    status
}

/// Asks for what is not part of the status. While nobody is signed in, or somebody else is, not
/// all of it is this user's to see.
async fn look(service: &Service, known: &mut Known) -> Result<(), ServiceError> {
    known.resources = match visible(service, &Request::Resources).await? {
        Some(Reply::Resources(resources)) => resources,
        Some(_) | None => Vec::new(),
    };
    let posture = Request::Posture { refresh: false };
    known.posture = match visible(service, &posture).await? {
        Some(Reply::Posture(posture)) => Some(posture),
        Some(_) | None => None,
    };
    Ok(())
}

/// Asks for something that this user may not see at the moment.
async fn visible(service: &Service, request: &Request) -> Result<Option<Reply>, ServiceError> {
    match service.ask(request).await {
        Ok(reply) => Ok(Some(reply)),
        Err(ServiceError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn listen(mut replies: Replies, to: mpsc::Sender<Heard>) {
    loop {
        let heard = match replies.next_whenever().await {
            Ok(Reply::Status(status)) => Heard::Status(status),
            Ok(_) | Err(_) => Heard::Gone,
        };
        let is_over = matches!(heard, Heard::Gone);
        if to.send(heard).await.is_err() || is_over {
            return;
        }
    }
}

/// Listens to what is refused, whenever that is this user's to see.
async fn listen_for_refusals(service: Arc<Service>, to: mpsc::Sender<Heard>) {
    let request = Request::Decisions {
        follow: true,
        denied: true,
        limit: MAX_REFUSED,
    };
    loop {
        let error = match service.open(&request, ONE_ANSWER).await {
            Ok(replies) => hear_refusals(replies, &to).await,
            Err(error) => error,
        };
        let is_over = !matches!(error, ServiceError::Refused(_));
        let heard = if is_over { Heard::Gone } else { Heard::Closed };
        if to.send(heard).await.is_err() || is_over {
            return;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn hear_refusals(mut replies: Replies, to: &mpsc::Sender<Heard>) -> ServiceError {
    loop {
        match replies.next_whenever().await {
            Ok(Reply::Decision(decision)) => {
                // Whoever no longer listens ends this task too.
                let _ = to.send(Heard::Refused(Box::new(decision))).await;
            }
            Ok(_) => return ServiceError::Unexpected,
            Err(error) => return error,
        }
    }
}

/// Asks what became of what the person asked for. The answer comes from the company, so it may
/// take its time, and not come at all.
async fn ask_for_requests(
    service: Arc<Service>,
    mut asked: watch::Receiver<()>,
    to: mpsc::Sender<Heard>,
) {
    loop {
        let reply = service.ask(&Request::AccessRequests).await;
        let mut pause = NOTHING_PENDING;
        if let Ok(Reply::AccessRequests(requests)) = reply {
            let mut statuses = requests.iter().map(|request| request.status);
            if statuses.any(|status| status == AccessRequestStatus::Pending) {
                pause = PENDING;
            }
            if to.send(Heard::Requests(requests)).await.is_err() {
                return;
            }
        }
        let changed = timeout(pause, asked.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
    }
}

/// A service that starts is seen within a second.
const RETRY: Duration = Duration::from_millis(400);

/// What changes without a word in the status: whether a resource is open, how old findings are.
/// A service that hangs shows in it too.
const LOOK_AGAIN: Duration = Duration::from_secs(4);

/// How long after signing in what was refused is seen.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Answers come from memory, within milliseconds.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// How often the company is asked about requests.
const PENDING: Duration = Duration::from_secs(15);
const NOTHING_PENDING: Duration = Duration::from_secs(300);

/// What the menu may show, and some more.
const MAX_REFUSED: usize = 20;

/// What may wait while a panel is slow.
const MAX_HEARD: usize = 32;
