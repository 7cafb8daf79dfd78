//! Questions that wait at the same time travel together, where the server takes several.

use std::sync::Arc;
use std::time::Duration;

use connector_core::authzen::{
    Decision, Endpoints, Unanswered, evaluations, parse_decision, parse_evaluations,
};
use connector_core::connector::PdpFailure;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use super::directory::Directory;
use super::{Failure, exchange};
use crate::adapters::http::Http;

/// A question, and who waits for its answer.
#[derive(Debug)]
pub(super) struct Passenger {
    pub(super) question: Value,
    pub(super) answer: oneshot::Sender<Result<Decision, Failure>>,
}

/// Sends what waits, as long as anybody may ask.
pub(super) async fn dispatch(
    http: Http,
    mut directory: Directory,
    mut waiting: mpsc::Receiver<Passenger>,
) {
    let lanes = Arc::new(Semaphore::new(LANES));
    let mut journeys = JoinSet::new();
    while let Some(first) = waiting.recv().await {
        while journeys.try_join_next().is_some() {}
        // While every lane is taken, more gather: the busier, the fuller.
        let Ok(lane) = Arc::clone(&lanes).acquire_owned().await else {
            return;
        };
        let endpoints = directory.endpoints().await;
        let together = matches!(&endpoints, Ok(endpoints) if endpoints.evaluations.is_some());
        let seats = if together { SEATS } else { 1 };
        let car = gather(first, seats, &mut waiting).await;

        let http = http.clone();
        journeys.spawn(async move {
            travel(&http, endpoints, car).await;
            drop(lane);
        });
    }
}

/// Takes along who waits already; if anybody does, waits a moment for more.
async fn gather(
    first: Passenger,
    seats: usize,
    waiting: &mut mpsc::Receiver<Passenger>,
) -> Vec<Passenger> {
    let mut car = vec![first];
    let departure = Instant::now() + GATHERING;
    while car.len() < seats {
        let next = match waiting.try_recv() {
            Ok(next) => next,
            Err(_) if car.len() == 1 => break,
            Err(_) => match tokio::time::timeout_at(departure, waiting.recv()).await {
                Ok(Some(next)) => next,
                Ok(None) | Err(_) => break,
            },
        };
        car.push(next);
    }
    // Who has given up needs no answer.
    car.retain(|passenger| !passenger.answer.is_closed());
    car
}

async fn travel(http: &Http, endpoints: Result<Endpoints, Failure>, mut car: Vec<Passenger>) {
    let endpoints = match endpoints {
        Ok(endpoints) => endpoints,
        Err(failure) => return fail(car, &failure),
    };
    match (&endpoints.evaluations, car.len()) {
        (_, 0) => {}
        (Some(several), 2..) => {
            if let Some(left) = together(http, several, car).await {
                let mut singly = JoinSet::new();
                for passenger in left {
                    let (http, endpoint) = (http.clone(), endpoints.evaluation.clone());
                    singly.spawn(async move { alone(&http, &endpoint, passenger).await });
                }
                while singly.join_next().await.is_some() {}
            }
        }
        (_, _) => {
            for passenger in car.drain(..) {
                alone(http, &endpoints.evaluation, passenger).await;
            }
        }
    }
}

async fn alone(http: &Http, endpoint: &Url, mut passenger: Passenger) {
    let outcome = tokio::select! {
        outcome = exchange(http, endpoint, &passenger.question) => outcome,
        // A connection that nobody waits for is closed.
        () = passenger.answer.closed() => return,
    };
    let outcome = outcome.and_then(|body| parse_decision(&body).map_err(Failure::malformed));
    // Who asked may have given up by now.
    let _ = passenger.answer.send(outcome);
}

/// Asks for all of them at once; returns those who must be asked about singly.
async fn together(http: &Http, endpoint: &Url, car: Vec<Passenger>) -> Option<Vec<Passenger>> {
    let questions: Vec<Value> = car
        .iter()
        .map(|passenger| passenger.question.clone())
        .collect();
    let body = exchange(http, endpoint, &evaluations(&questions)).await;
    let answers = match body {
        Ok(body) => parse_evaluations(&body, car.len()).map_err(Failure::malformed),
        // One question that it does not understand must not speak for the others.
        Err(failure) if is_about_the_request(failure.kind) => {
            tracing::debug!(%failure, "The policy server refuses several questions at once");
            return Some(car);
        }
        Err(failure) => Err(failure),
    };
    match answers {
        Ok(answers) => {
            for (passenger, answer) in car.into_iter().zip(answers) {
                let outcome = answer.map_err(|unanswered| match unanswered {
                    Unanswered::Failed(status) => Failure::status(status, unanswered),
                    Unanswered::Malformed(problem) => Failure::malformed(problem),
                });
                let _ = passenger.answer.send(outcome);
            }
        }
        Err(failure) => fail(car, &failure),
    }
    None
}

fn fail(car: Vec<Passenger>, failure: &Failure) {
    for passenger in car {
        let _ = passenger.answer.send(Err(failure.clone()));
    }
}

fn is_about_the_request(failure: PdpFailure) -> bool {
    match failure {
        PdpFailure::Status(status) => matches!(status, 400 | 404 | 405 | 413 | 422 | 501),
        PdpFailure::Late | PdpFailure::Malformed | PdpFailure::Unreachable => false,
    }
}

/// Requests under way at one time; each is a connection that is kept and used again.
const LANES: usize = 32;

/// Questions in one request; servers bound them, some at 50.
const SEATS: usize = 32;

/// How long the first of several waits for more.
const GATHERING: Duration = Duration::from_millis(2);
