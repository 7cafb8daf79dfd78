//! What reads bytes from outside, by itself: for the fuzz targets.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use crate::adapters::{diagnosing, pdp, shipping, sign_in, signals};
use crate::settings;

/// Reads a framed answer of a Permguard decision point to the request `id`; returns whether it
/// permits, or nothing if it is no answer.
#[must_use]
pub fn permguard_permits(message: &[u8], id: &str) -> Option<bool> {
    pdp::read_permguard(message, id)
}

/// Reads what is kept of a transmitter's events; returns what would be written of it.
#[must_use]
pub fn kept_signals(bytes: &[u8]) -> Option<Vec<u8>> {
    signals::rewrite(bytes)
}

/// Reads the status of a stream of events; returns what is wrong with it, if anything is.
#[must_use]
pub fn stream_problem(body: &[u8]) -> Option<String> {
    signals::status_problem(body)
}

/// Returns how many decisions an OTLP collector says that it did not take.
#[must_use]
pub fn rejected_decisions(answer: &[u8]) -> Option<u64> {
    shipping::rejected(answer)
}

/// Returns what an OTLP collector is sent for lines of the decision log.
#[must_use]
pub fn otlp_request(lines: &[u8]) -> Value {
    shipping::export_request(lines)
}

/// Reads the request with which a browser comes back from the provider to `redirect`; returns its
/// parameters.
#[must_use]
pub fn sign_in_parameters(redirect: &Url, request: &str) -> Option<BTreeMap<String, String>> {
    sign_in::read_redirect(redirect, request)
}

/// Reads a certificate; returns who signed it, for people.
#[must_use]
pub fn certificate_signer(certificate: &[u8]) -> Option<String> {
    diagnosing::signer(certificate)
}

/// Reads a file of settings, the person's or the managed one; returns what is wrong with it.
#[must_use]
pub fn settings_problem(text: &str, is_managed: bool) -> Option<String> {
    settings::problem(text, is_managed)
}
