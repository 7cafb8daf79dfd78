//! What waits for each receiver.

use std::collections::{BTreeMap, VecDeque};

use connector_core::signals::{PollAnswer, PollRequest, SetError};
use serde_json::{Value, json};

/// One stream for each host.
#[derive(Debug, Default)]
pub(super) struct Streams(BTreeMap<String, Stream>);

#[derive(Debug, Default)]
struct Stream {
    waiting: VecDeque<(String, String)>,
    acknowledged: u64,
    refused: BTreeMap<String, SetError>,
}

impl Streams {
    /// Returns whether the stream is new.
    pub(super) fn open(&mut self, host: &str) -> bool {
        let is_new = !self.is_open(host);
        self.0.entry(host.to_owned()).or_default();
        is_new
    }

    pub(super) fn is_open(&self, host: &str) -> bool {
        self.0.contains_key(host)
    }

    /// Puts an event into one stream or into all; each gets a token of its own.
    pub(super) fn queue(&mut self, host: Option<&str>, name: &str, sign: impl Fn(&str) -> String) {
        for (owner, stream) in &mut self.0 {
            if host.is_none_or(|host| host == owner) {
                if stream.waiting.len() >= MAX_WAITING {
                    stream.waiting.pop_front();
                }
                stream.waiting.push_back((name.to_owned(), sign(owner)));
            }
        }
    }

    /// Takes what a receiver has dealt with out of its stream; returns whether it has one.
    pub(super) fn settle(&mut self, host: &str, request: &PollRequest) -> bool {
        let Some(stream) = self.0.get_mut(host) else {
            return false;
        };
        let before = stream.waiting.len();
        stream
            .waiting
            .retain(|(name, _)| !request.ack.contains(name));
        let acknowledged = before - stream.waiting.len();
        stream.acknowledged += u64::try_from(acknowledged).unwrap_or_default();
        stream
            .waiting
            .retain(|(name, _)| !request.set_errs.contains_key(name));
        stream.refused.extend(request.set_errs.clone());
        while stream.refused.len() > MAX_WAITING {
            stream.refused.pop_first();
        }
        true
    }

    /// Returns what waits, the oldest first.
    pub(super) fn waiting(&self, host: &str, most: Option<usize>) -> PollAnswer {
        let Some(stream) = self.0.get(host) else {
            return PollAnswer::default();
        };
        let most = most.unwrap_or(PollAnswer::MAX_EVENTS);
        PollAnswer {
            sets: stream.waiting.iter().take(most).cloned().collect(),
            more_available: stream.waiting.len() > most,
        }
    }

    pub(super) fn view(&self) -> Value {
        let streams = self.0.iter().map(|(host, stream)| {
            json!({
                "host": host,
                "waiting": stream.waiting.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                "acknowledged": stream.acknowledged,
                "refused": stream.refused,
            })
        });
        streams.collect()
    }
}

/// Hosts that never come back must not fill the memory.
const MAX_WAITING: usize = 1024;
