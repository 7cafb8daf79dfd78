use std::collections::{BTreeMap, BTreeSet};

use connector_client::browser::WebPage;
use connector_ipc::{
    AccessRequestReport, AccessRequestStatus, DecisionReport, Outcome, ResourceReport,
    ResourceState,
};

use super::super::standing::{answers, is_silent};
use super::super::{Action, Clock, Entry, Goal, Known, broken, mend, one_line, paragraph};
use super::{cut, item};
use crate::texts::Texts;

/// The protected applications, by site.
pub(super) fn resources(
    known: &Known,
    favourites: &BTreeSet<String>,
    texts: &Texts,
) -> Option<Entry> {
    known.status.identity.as_ref()?;
    let all = known.resources.iter();
    let (first, others): (Vec<_>, Vec<_>) =
        all.partition(|resource| favourites.contains(&resource.id));
    let mut sites: BTreeMap<&str, Vec<&ResourceReport>> = BTreeMap::new();
    for resource in others {
        sites.entry(&resource.site).or_default().push(resource);
    }
    let mut entries: Vec<Entry> = Vec::new();
    if known.resources.is_empty() {
        entries.push(Entry::Text(texts.say("resources-none")));
    }
    let is_only = sites.len() == 1;
    let some = first.iter().take(MAX_RESOURCES);
    let mut shown = some.len();
    entries.extend(some.map(|resource| one(resource, texts)));
    if !first.is_empty() && !sites.is_empty() {
        entries.push(Entry::Separator);
    }
    for (site, resources) in sites.iter().take(MAX_SITES) {
        if !is_only {
            entries.push(Entry::Text(site_label(known, site, texts)));
        }
        let some = resources.iter().take(MAX_RESOURCES);
        shown += some.len();
        entries.extend(some.map(|resource| one(resource, texts)));
    }
    entries.extend(cut(known.resources.len(), shown, "ztna resources", texts));
    Some(Entry::Submenu {
        id: "resources".into(),
        label: texts.say("resources"),
        entries,
    })
}

pub(crate) fn site_label(known: &Known, id: &str, texts: &Texts) -> String {
    let site = known.status.tunnel.sites.iter().find(|site| site.id == id);
    let key = match site {
        Some(site) if answers(site) => "site-answers",
        Some(site) if is_silent(site) => "site-silent",
        Some(_) | None => "site-unknown",
    };
    texts.say_with(key, [("site", one_line(id).into())])
}

fn one(resource: &ResourceReport, texts: &Texts) -> Entry {
    let key = match resource.state {
        ResourceState::Denied => "resource-denied",
        ResourceState::Permitted => "resource-permitted",
        ResourceState::Undecided => "resource-undecided",
    };
    let mut entries: Vec<Entry> = resource
        .names
        .iter()
        .take(MAX_NAMES)
        .map(|name| Entry::Text(one_line(name)))
        .collect();
    entries.push(Entry::Text(one_line(&resource.ports.join(", "))));
    if let Some(page) = page(resource) {
        entries.push(item(
            &format!("open-{}", resource.id),
            texts.say("open"),
            Some(Action::OpenPage(page.as_str().to_owned())),
        ));
    }
    let goal = |goal: fn(String) -> Goal| Some(Action::OpenWindow(goal(resource.id.clone())));
    entries.push(item(
        &format!("show-{}", resource.id),
        texts.say("show-resource"),
        goal(Goal::Resource),
    ));
    if resource.state == ResourceState::Denied && plain_name(resource).is_some() {
        entries.push(item(
            &format!("ask-{}", resource.id),
            texts.say("ask-resource"),
            goal(Goal::Request),
        ));
    }
    Entry::Submenu {
        id: format!("resource-{}", resource.id),
        label: texts.say_with(key, [("title", one_line(&resource.title).into())]),
        entries,
    }
}

/// Returns the first name of a resource that stands for itself alone.
pub(crate) fn plain_name(resource: &ResourceReport) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let mut names = resource.names.iter().map(String::as_str);
    names.find(|name| name.bytes().all(is_plain))
}

/// Returns the page that a resource shows, if it has a name and a port of the web.
pub(crate) fn page(resource: &ResourceReport) -> Option<WebPage> {
    let name = plain_name(resource)?;
    let offers = |port: &str| resource.ports.iter().any(|offered| offered == port);
    let scheme = match (offers("tcp/443"), offers("tcp/80")) {
        (true, _) => "https",
        (false, true) => "http",
        (false, false) => return None,
    };
    WebPage::new(format!("{scheme}://{name}/"))
}

/// What was refused of late, the latest first, and what the person asked for.
pub(super) fn refused(known: &Known, texts: &Texts, clock: Clock) -> Option<Entry> {
    if known.refused.is_empty() && known.requests.is_empty() {
        return None;
    }
    let mut entries = Vec::new();
    let mut seen = Vec::new();
    for decision in known.refused.iter().rev() {
        if seen.contains(&&decision.target) {
            continue;
        }
        if seen.len() == MAX_REFUSED {
            entries.push(Entry::Text(texts.say("more-refused")));
            break;
        }
        seen.push(&decision.target);
        entries.push(refusal(decision, known, texts));
    }
    let open = known.requests.iter().take(MAX_REFUSED);
    let open: Vec<String> = open
        .filter_map(|request| wish(request, texts, clock))
        .collect();
    if !open.is_empty() {
        entries.push(Entry::Separator);
        entries.extend(open.into_iter().map(Entry::Text));
    }
    if entries.is_empty() {
        return None;
    }
    Some(Entry::Submenu {
        id: "refused".into(),
        label: texts.say("refused"),
        entries,
    })
}

fn refusal(decision: &DecisionReport, known: &Known, texts: &Texts) -> Entry {
    let target = one_line(&decision.target);
    let label = match decision.outcome {
        Outcome::Revoked => texts.say_with("refused-ended", [("target", target.into())]),
        Outcome::Denied | Outcome::Permitted => target,
    };
    let mut entries = broken(&paragraph(texts.told(&decision.message)));
    if let Some(workload) = &decision.workload {
        let program = program(&workload.path);
        entries.push(Entry::Text(
            texts.say_with("refused-program", [("program", program.into())]),
        ));
    }
    if let Some(remedy) = &decision.remedy {
        entries.extend(broken(&mend(remedy, texts)));
    }
    entries.extend(asking(decision, known, texts));
    Entry::Submenu {
        id: format!("refused-{}", decision.id),
        label,
        entries,
    }
}

/// What the person can ask for, unless they have.
fn asking(decision: &DecisionReport, known: &Known, texts: &Texts) -> Vec<Entry> {
    let Some(approver) = &decision.said.requestable else {
        return Vec::new();
    };
    let is_pending = |request: &&AccessRequestReport| {
        request.status == AccessRequestStatus::Pending
            && decision.resource.as_ref() == Some(&request.resource)
    };
    if known.requests.iter().any(|request| is_pending(&request)) {
        return Vec::new();
    }
    let (host, port) = split(&decision.target);
    let approver = one_line(approver);
    let choice = |key: &str, seconds| {
        let action = Action::RequestAccess {
            host: host.to_owned(),
            port,
            reason: texts.say("request-reason"),
            seconds,
        };
        item(
            &format!("{key}-{}", decision.id),
            texts.say_with(key, [("approver", approver.clone().into())]),
            Some(action),
        )
    };
    let with_reason = decision.resource.as_ref().map(|resource| {
        let goal = Goal::Request(resource.clone());
        let id = format!("request-reason-{}", decision.id);
        item(
            &id,
            texts.say("ask-resource"),
            Some(Action::OpenWindow(goal)),
        )
    });
    let quick = [
        choice("request-hour", 3600),
        choice("request-day", 8 * 3600),
    ];
    quick.into_iter().chain(with_reason).collect()
}

/// Returns the host and the port of `NAME:PORT`.
pub(crate) fn split(target: &str) -> (&str, Option<u16>) {
    let parts = target.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse().ok()?;
        Some((host.trim_start_matches('[').trim_end_matches(']'), port))
    });
    match parts {
        Some((host, port)) => (host, Some(port)),
        None => (target, None),
    }
}

/// Returns a program's name without the folders that it is in.
pub(crate) fn program(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next();
    one_line(name.unwrap_or(path))
}

/// Returns what became of something that the person asked for.
pub(crate) fn wish(request: &AccessRequestReport, texts: &Texts, clock: Clock) -> Option<String> {
    let title = one_line(request.title.as_ref().unwrap_or(&request.resource));
    let left = request
        .until
        .as_deref()
        .and_then(|until| clock.until(until));
    match (request.status, left) {
        (AccessRequestStatus::Approved, Some(left)) => Some(texts.say_with(
            "request-approved",
            [
                ("title", title.into()),
                ("left", texts.duration(left).into()),
            ],
        )),
        (AccessRequestStatus::Pending, _) => {
            Some(texts.say_with("request-pending", [("title", title.into())]))
        }
        (AccessRequestStatus::Denied, _) => {
            Some(texts.say_with("request-denied", [("title", title.into())]))
        }
        (
            AccessRequestStatus::Approved
            | AccessRequestStatus::Expired
            | AccessRequestStatus::Unknown,
            _,
        ) => None,
    }
}

/// More do not fit a small screen.
const MAX_SITES: usize = 6;
const MAX_RESOURCES: usize = 12;
const MAX_NAMES: usize = 3;
const MAX_REFUSED: usize = 8;
