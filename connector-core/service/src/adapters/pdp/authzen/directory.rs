//! What a decision point says about itself: fetched, checked, kept, and fetched again.

use std::time::Duration;

use connector_core::authzen::{Endpoints, MAX_ANSWER, metadata_url};
use http::StatusCode;
use http::header::ACCEPT;
use tokio::sync::watch;
use url::Url;

use super::{Failure, is_json};
use crate::adapters::Task;
use crate::adapters::http::{self as web, Http};

/// Knows where one decision point is asked.
#[derive(Debug)]
pub(super) struct Directory {
    base: Url,
    known: watch::Receiver<Known>,
    has_waited: bool,
    _reader: Task,
}

#[derive(Debug, Clone)]
enum Known {
    /// It says where it is asked, or says nothing.
    Endpoints(Endpoints),
    /// Nobody has answered yet.
    Nothing,
    /// What it says cannot be relied on.
    Refused(Failure),
}

impl Directory {
    /// Begins to read the metadata of the decision point at `base`.
    pub(super) fn start(http: Http, base: Url) -> Self {
        let (show, known) = watch::channel(Known::Nothing);
        let reader = Task::spawn(keep_reading(http, base.clone(), show));
        Self {
            base,
            known,
            has_waited: false,
            _reader: reader,
        }
    }

    /// Returns where to ask; waits a little, and only once, for metadata that is under way.
    pub(super) async fn endpoints(&mut self) -> Result<Endpoints, Failure> {
        if !self.has_waited {
            self.has_waited = true;
            let has_come = self
                .known
                .wait_for(|known| !matches!(known, Known::Nothing));
            let _late = tokio::time::timeout(FIRST_READING, has_come).await;
        }
        let known = self.known.borrow().clone();
        match known {
            Known::Endpoints(endpoints) => Ok(endpoints),
            Known::Nothing => Ok(Endpoints::by_default(&self.base)),
            Known::Refused(failure) => Err(failure),
        }
    }
}

async fn keep_reading(http: Http, base: Url, show: watch::Sender<Known>) {
    loop {
        let found = read(&http, &base).await;
        let pause = match &found {
            Reading::Absent | Reading::Document(Ok(_)) => REFRESH,
            Reading::Away | Reading::Document(Err(_)) => RETRY,
        };
        match found {
            Reading::Document(Ok(endpoints)) => {
                show.send_replace(Known::Endpoints(endpoints));
            }
            Reading::Document(Err(failure)) => {
                tracing::warn!(pdp = %base, problem = %failure, "The policy server's metadata is refused; it is not asked");
                show.send_replace(Known::Refused(failure));
            }
            Reading::Absent => {
                show.send_replace(Known::Endpoints(Endpoints::by_default(&base)));
            }
            // What was read before is still the best that is known.
            Reading::Away => {
                show.send_if_modified(|known| {
                    let is_first = matches!(known, Known::Nothing);
                    if is_first {
                        *known = Known::Endpoints(Endpoints::by_default(&base));
                    }
                    is_first
                });
            }
        }
        tokio::time::sleep(pause).await;
    }
}

#[derive(Debug)]
enum Reading {
    /// There is none.
    Absent,
    /// It cannot be had now.
    Away,
    Document(Result<Endpoints, Failure>),
}

async fn read(http: &Http, base: &Url) -> Reading {
    let request = http
        .client()
        .get(metadata_url(base))
        .header(ACCEPT, "application/json");
    match web::send(request, READING_LIMIT, MAX_ANSWER).await {
        Ok(answer) if answer.status == StatusCode::OK && is_json(&answer) => {
            let endpoints = Endpoints::parse(base, &answer.body);
            Reading::Document(endpoints.map_err(Failure::malformed))
        }
        Ok(answer) if answer.status.is_server_error() => Reading::Away,
        Ok(_) => Reading::Absent,
        Err(error) => {
            tracing::debug!(pdp = %base, %error, "The policy server's metadata cannot be read");
            Reading::Away
        }
    }
}

/// Leaves the question most of its 800 ms.
const FIRST_READING: Duration = Duration::from_millis(250);

const READING_LIMIT: Duration = Duration::from_secs(5);

/// Where a server is asked changes rarely.
const REFRESH: Duration = Duration::from_secs(3600);

/// Soon enough after a server is back or mended.
const RETRY: Duration = Duration::from_secs(30);
