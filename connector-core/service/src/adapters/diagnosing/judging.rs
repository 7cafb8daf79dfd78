//! What measurements mean, for people.

use std::net::IpAddr;
use std::time::Duration;

use connector_core::network::Prefix;
use connector_ipc::{
    BehindReport, Condition, ExaminedReport, Finding, GatewayPathReport, GatewayState,
    InterceptionReport, ManagedReport, NetworkReport, PostureReport, Standing, Status,
};
use connector_platform::sealing::Keeper;
use connector_platform::surroundings::{Host, Surroundings};

use crate::adapters::control::Problem;
use crate::adapters::keys::Keeping;

/// Everything that is judged.
pub(super) struct Observed<'a> {
    pub(super) status: Status,
    pub(super) posture: PostureReport,
    pub(super) control_problem: Option<Problem>,
    pub(super) control_plane: Result<Answered, String>,
    /// What answers for the control plane's host without TLS.
    pub(super) plain: Option<Plain>,
    /// A protected name, and what the machine's resolver says of it.
    pub(super) name: Option<(String, Result<Vec<IpAddr>, String>)>,
    pub(super) taken: Vec<Taken>,
    pub(super) surroundings: Surroundings,
    pub(super) proxies: Vec<&'static str>,
    pub(super) secrets: Keeping,
    pub(super) network: &'a NetworkReport,
}

/// Something answered where the control plane should.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) content_type: String,
    /// What time it is there, and when that was here, in Unix seconds.
    pub(super) date: Option<i64>,
    pub(super) at: i64,
    pub(super) took: Duration,
    /// Who signed the certificate that was shown.
    pub(super) signer: Option<String>,
}

impl Answered {
    /// Returns by how many seconds the other clock is ahead.
    pub(super) fn ahead(&self) -> Option<i64> {
        Some(self.date?.saturating_sub(self.at))
    }

    fn is_control_plane(&self) -> bool {
        self.status == 200 && self.content_type.starts_with("application/json")
    }
}

/// Something answered a question without TLS.
pub(super) struct Plain {
    pub(super) status: u16,
    /// Whether it is a page for people.
    pub(super) is_page: bool,
    /// The host that it sends whoever asks to.
    pub(super) leads_to: Option<String>,
    /// The host that was asked.
    pub(super) own: String,
}

impl Plain {
    /// Returns whether a network says that it has to be signed in to first: it says so (RFC 6585
    /// §6), leads elsewhere, or shows a page of its own. A server that leads to itself with TLS
    /// is none.
    fn is_portal(&self) -> bool {
        match self.status {
            511 => true,
            300..400 => self.leads_to.as_ref().is_some_and(|host| *host != self.own),
            200..300 => self.is_page,
            _ => false,
        }
    }
}

/// A range that this machine's networks use and a protected application too.
pub(super) struct Taken {
    pub(super) protected: Prefix,
    pub(super) by: Prefix,
}

/// Judges everything, in the order in which one builds on the other.
pub(super) fn judge(observed: &Observed<'_>) -> Vec<ExaminedReport> {
    let mut examined = vec![
        control_plane(observed),
        clock(observed.network.clock_ahead_seconds),
        proxies(&observed.proxies),
        configuration(&observed.status),
        session(&observed.status),
    ];
    examined.extend(observed.status.interception.as_ref().map(interception));
    examined.extend(
        observed
            .name
            .as_ref()
            .map(|(name, found)| names(name, found)),
    );
    examined.extend(observed.network.gateways.iter().map(gateway));
    examined.extend(mtu(&observed.network.gateways));
    examined.push(ranges(&observed.taken));
    examined.push(tunnels(&observed.surroundings.tunnels));
    examined.push(containers(&observed.surroundings.bridges));
    examined.extend(observed.surroundings.host.map(host));
    examined.push(posture(&observed.posture));
    examined.push(posture_source(&observed.posture));
    examined.push(records(&observed.status));
    examined.extend(observed.status.managed.as_ref().map(managed));
    examined.push(secrets(observed.secrets));
    examined
}

fn control_plane(observed: &Observed<'_>) -> ExaminedReport {
    let at = &observed.status.control_plane;
    let about = About::network("control-plane", "The company's control plane");
    match &observed.control_plane {
        Ok(answer) if answer.is_control_plane() => {
            let problem = observed.control_problem.as_ref();
            let told = problem.map(|problem| &*problem.message);
            let finding = match (&answer.signer, told) {
                (None, None) => format!("{at} answers."),
                (Some(signer), None) => format!("{at} answers, with a certificate of {signer}."),
                (None, Some(told)) => format!("{at} answers, but cannot be used: {told}."),
                (Some(signer), Some(told)) => format!(
                    "{at} answers, with a certificate of {signer}, but cannot be used: {told}."
                ),
            };
            match problem {
                None => about.good(finding),
                Some(problem) => about.problem(finding, problem.remedy),
            }
        }
        Ok(answer) => about.renamed("captive-portal").problem(
            format!(
                "Something else answers in place of {at} (status {} {}).",
                answer.status, answer.content_type
            ),
            PORTAL_CURE,
        ),
        Err(_) if observed.plain.as_ref().is_some_and(Plain::is_portal) => {
            about.renamed("captive-portal").problem(
                format!("{at} is out of reach, and this network answers in its place."),
                PORTAL_CURE,
            )
        }
        Err(problem) if is_about_certificates(problem) => about.renamed("tls").problem(
            format!("The certificate that is shown for {at} is not trusted: {problem}."),
            "Check this computer's clock. If something inspects TLS here, its authority has to be among the system's, or it has to leave the control plane alone.",
        ),
        Err(problem) if is_about_names(problem) => about.renamed("dns").problem(
            format!("The name of {at} cannot be looked up: {problem}."),
            "Check the network, and the name servers that it hands out.",
        ),
        Err(problem) => about.problem(
            format!("{at} does not answer: {problem}."),
            "Check the network. A firewall may be in between; the service does not use HTTP proxies.",
        ),
    }
}

const PORTAL_CURE: &str = "Open any page in your browser and sign in to the network, as in a hotel. If there is nothing to sign in to, tell your administrator.";

fn is_about_certificates(problem: &str) -> bool {
    problem.contains("certificate") || problem.contains("UnknownIssuer")
}

fn is_about_names(problem: &str) -> bool {
    problem.contains("dns error") || problem.contains("lookup address")
}

fn clock(ahead: Option<i64>) -> ExaminedReport {
    let about = About::network("clock", "This computer's clock");
    let Some(ahead) = ahead else {
        return about.unknown("The control plane did not tell its time.");
    };
    let seconds = ahead.unsigned_abs();
    let finding = match ahead {
        0.. => format!("It is {seconds} s behind the control plane's."),
        _ => format!("It is {seconds} s ahead of the control plane's."),
    };
    if seconds <= CLOCK_TOLERANCE {
        about.good("It agrees with the control plane's.".to_owned())
    } else if seconds <= CLOCK_LIMIT {
        about.warning(finding, CLOCK_CURE)
    } else {
        about.problem(finding, CLOCK_CURE)
    }
}

/// In seconds: what nothing suffers from, and what signatures and sign-ins are refused for.
const CLOCK_TOLERANCE: u64 = 30;
const CLOCK_LIMIT: u64 = 120;
const CLOCK_CURE: &str = "Let the system set the clock by itself, and check the time zone.";

fn proxies(variables: &[&str]) -> ExaminedReport {
    let about = About::network("http-proxy", "HTTP proxies");
    if variables.is_empty() {
        return about.good("None is set for the service.".to_owned());
    }
    about.warning(
        format!("{} is set; the service does not use it.", variables.join(", ")),
        "If the network lets nothing out but through that proxy, the control plane and the gateways must be let through directly.",
    )
}

fn configuration(status: &Status) -> ExaminedReport {
    let about = About::device("configuration", "The company's configuration");
    match status.configuration_version {
        Some(version) => about.good(format!("Version {version} is in force.")),
        None => about.problem(
            "None is in force, so nothing protected can be reached.".to_owned(),
            "It comes from the control plane: mend what is wrong with that first.",
        ),
    }
}

fn session(status: &Status) -> ExaminedReport {
    let about = About::device("session", "Your session");
    match (status.standing, &status.identity) {
        (Standing::Paused, _) => about.warning(
            "The connector is switched off.".to_owned(),
            "Run `ztna up`.",
        ),
        (_, Some(identity)) => about.good(format!("It lasts until {}.", identity.expires_at)),
        (_, None) => about.problem("Nobody is signed in.".to_owned(), "Run `ztna login`."),
    }
}

fn interception(report: &InterceptionReport) -> ExaminedReport {
    let about = About::device("interception", "Taking the traffic of programs");
    match report {
        InterceptionReport::Up {
            device,
            mended: None,
            ..
        } => about.good(format!("It goes through {device}.")),
        InterceptionReport::Up {
            mended: Some(mended),
            ..
        } => about.warning(
            format!("Another program keeps changing what the connector set: {mended}."),
            "Find out which program that is; another VPN is the usual one.",
        ),
        InterceptionReport::Down => about.warning(
            "It is not taken: nobody is signed in, or the connector is switched off.".to_owned(),
            "Run `ztna login`, or `ztna up`.",
        ),
        InterceptionReport::Failed { problem } => about.problem(
            format!("It cannot be taken: {problem}."),
            "The service's log says more; `ztna repair --dry-run` shows what an earlier run left.",
        ),
    }
}

fn names(name: &str, found: &Result<Vec<IpAddr>, String>) -> ExaminedReport {
    let about = About::device("dns-names", "Names of protected applications");
    match found {
        Ok(addresses) if !addresses.is_empty() => {
            about.good(format!("{name} is answered by this computer."))
        }
        Ok(_) => about.problem(format!("{name} has no address here."), NAMES_CURE),
        Err(problem) => about.problem(
            format!("{name} cannot be looked up: {problem}."),
            NAMES_CURE,
        ),
    }
}

const NAMES_CURE: &str = "Another program may have replaced this computer's name servers. `ztna down`, then `ztna up`, sets them again.";

fn gateway(path: &GatewayPathReport) -> ExaminedReport {
    let about =
        About::network("gateway", "").titled(format!("Gateway {} of {}", path.id, path.site));
    let at = path
        .address
        .map_or_else(|| path.endpoint.clone(), |address| address.to_string());
    // One that answers has told how long that took.
    let took = path.handshake_micros.unwrap_or_default().div_ceil(1000);
    match (path.state, path.address) {
        (GatewayState::Active, _) if path.behind == Some(BehindReport::Silent) => about.problem(
            format!("{at} answers over UDP, but nothing behind it does."),
            "The gateway is cut off from its own network, or the site's name servers are down. Tell your administrator.",
        ),
        (GatewayState::Active, _) => about.good(format!("{at} answers over UDP in {took} ms.")),
        (GatewayState::Standby, _) => about.good(format!("{at} answers over UDP in {took} ms, and is not needed now.")),
        (GatewayState::Connecting, _) => about.unknown(&format!("{at} is being called.")),
        (GatewayState::Down, None) => about.problem(
            format!("The name in {} cannot be looked up.", path.endpoint),
            "Check the network, and the name servers that it hands out.",
        ),
        (GatewayState::Down, Some(_)) => about.problem(
            format!("{at} does not answer over UDP."),
            "If other gateways answer, this one is down. If none does, the network blocks UDP: try another one, such as your phone's, and tell your administrator.",
        ),
    }
}

/// Judges the way that lets through least.
fn mtu(gateways: &[GatewayPathReport]) -> Option<ExaminedReport> {
    let about = About::network("mtu", "Length of packets");
    if let Some(path) = gateways.iter().find(|path| path.is_narrow) {
        return Some(about.warning(
            format!("Long packets to {} vanish on the way; the tunnel makes do with short ones.", path.site),
            "It works, if slowly. A router or another tunnel in between swallows what is too long for it and does not say so: try another network, or tell whoever looks after this one.",
        ));
    }
    let smallest = gateways.iter().filter_map(|path| path.path_mtu).min()?;
    Some(if smallest < SHORTEST_MTU {
        about.warning(
            format!("Packets of at most {smallest} bytes get to a gateway; the tunnel needs {SHORTEST_MTU}."),
            "Another tunnel is probably in between. Leave it, or ask for a larger MTU there.",
        )
    } else {
        about.good(format!("Packets of {smallest} bytes get to every gateway."))
    })
}

/// What IPv6 promises inside of the tunnel, and WireGuard's and the outer headers (80 bytes).
const SHORTEST_MTU: u32 = 1360;

fn ranges(taken: &[Taken]) -> ExaminedReport {
    let about = About::network("address-range", "Colliding networks");
    let Some(first) = taken.first() else {
        return about.good("No protected address lies in a network of this computer.".to_owned());
    };
    about.warning(
        format!(
            "Protected addresses in {} lie in this computer's own network {}: nothing else in that range can be reached while the connector is up.",
            first.protected, first.by
        ),
        "At home, give the router another range of addresses. Elsewhere use another network, such as your phone's.",
    )
}

fn tunnels(devices: &[String]) -> ExaminedReport {
    let about = About::network("other-vpn", "Other tunnels");
    if devices.is_empty() {
        return about.good("There is none on this computer.".to_owned());
    }
    about.warning(
        format!("There are others on this computer: {}.", devices.join(", ")),
        "If applications cannot be reached, switch the other VPN off and look again.",
    )
}

fn containers(bridges: &[String]) -> ExaminedReport {
    let about = About::network("containers", "Containers and virtual machines");
    about.good(match bridges {
        [] => "They have no network on this computer.".to_owned(),
        bridges => format!(
            "What runs behind {} reaches no protected application: nobody could say which program it is.",
            bridges.join(", ")
        ),
    })
}

fn host(host: Host) -> ExaminedReport {
    let about = About::device("host", "Where this system runs");
    match host {
        Host::Container => about.warning(
            "In a container: programs outside of it are not taken, and what they are cannot be told.".to_owned(),
            "Install the connector on the computer itself.",
        ),
        Host::Wsl => about.warning(
            "In the Windows Subsystem for Linux: Windows' own programs are not taken.".to_owned(),
            "Install the connector on Windows.",
        ),
    }
}

fn posture(report: &PostureReport) -> ExaminedReport {
    let about = About::device("posture", "This computer's checks");
    let titles = |wanted: Finding| -> Vec<&str> {
        let checks = report.checks.iter();
        checks
            .filter(|check| check.finding == wanted)
            .map(|check| check.title.as_str())
            .collect()
    };
    let (failing, unknown) = (titles(Finding::Fail), titles(Finding::Unknown));
    let cure = "Run `ztna posture` to see how to mend it.";
    match (failing.as_slice(), unknown.as_slice()) {
        ([], []) if report.checks.is_empty() => about.good("None are asked for.".to_owned()),
        ([], []) => about.good(format!("All {} pass.", report.checks.len())),
        ([], unknown) => about.warning(
            format!("Could not be measured: {}.", unknown.join("; ")),
            cure,
        ),
        (failing, []) => about.warning(format!("Do not pass: {}.", failing.join("; ")), cure),
        (failing, unknown) => about.warning(
            format!(
                "Do not pass: {}. Could not be measured: {}.",
                failing.join("; "),
                unknown.join("; ")
            ),
            cure,
        ),
    }
}

/// Whoever measures: here always the service itself.
fn posture_source(report: &PostureReport) -> ExaminedReport {
    let about = About::device("posture-source", "Who makes the checks");
    let waiting = report.checks.iter();
    let waiting = waiting.filter(|check| check.measured_at.is_none()).count();
    if waiting == 0 {
        return about.good("The service, by its own tables; each check was made.".to_owned());
    }
    about.unknown(&format!(
        "The service, by its own tables; {waiting} of {} checks were not made yet.",
        report.checks.len()
    ))
}

fn secrets(keeping: Keeping) -> ExaminedReport {
    let about = About::device("secrets", "Keys and tokens");
    if keeping.wants_store && keeping.sign_in == Keeper::Nobody {
        return about.warning(
            format!("Your key ring is locked, or there is none. {}", keeping.describe()),
            "Unlock your key ring: logging in to the desktop with your password does that. On a computer without one, `service.key_store = \"files\"` says that this is meant.",
        );
    }
    about.good(keeping.describe())
}

fn records(status: &Status) -> ExaminedReport {
    let about = About::device("decision-log", "The decision log");
    let problem = status.records.as_ref().and_then(|log| log.problem.as_ref());
    match problem {
        None => about.good("It is written and taken.".to_owned()),
        Some(problem) => about.problem(
            format!("{problem}."),
            "Check free disk space; what cannot be written down is not permitted.",
        ),
    }
}

fn managed(report: &ManagedReport) -> ExaminedReport {
    let about = About::device("managed-settings", "The administrator's settings");
    if let Some(problem) = &report.problem {
        return about.warning(
            format!("They cannot be used as they are now: {problem}. Those from before count."),
            "Tell your administrator. They count again as soon as they are mended; a service that is started meanwhile refuses to start.",
        );
    }
    about.good(format!("They are in force, managed by {}.", report.by))
}

/// What a judgement is about.
struct About {
    code: &'static str,
    is_network: bool,
    title: String,
}

impl About {
    fn network(code: &'static str, title: &str) -> Self {
        Self {
            code,
            is_network: true,
            title: title.to_owned(),
        }
    }

    fn device(code: &'static str, title: &str) -> Self {
        Self {
            is_network: false,
            ..Self::network(code, title)
        }
    }

    fn renamed(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    fn titled(self, title: String) -> Self {
        Self { title, ..self }
    }

    fn good(self, finding: String) -> ExaminedReport {
        self.report(Condition::Good, finding, None)
    }

    fn unknown(self, finding: &str) -> ExaminedReport {
        self.report(Condition::Unknown, finding.to_owned(), None)
    }

    fn warning(self, finding: String, cure: &str) -> ExaminedReport {
        self.report(Condition::Warning, finding, Some(cure))
    }

    fn problem(self, finding: String, cure: &str) -> ExaminedReport {
        self.report(Condition::Problem, finding, Some(cure))
    }

    fn report(self, condition: Condition, finding: String, cure: Option<&str>) -> ExaminedReport {
        ExaminedReport {
            code: self.code.to_owned(),
            is_network: self.is_network,
            condition,
            title: self.title,
            finding,
            cure: cure.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests;
