//! What the command can see by itself.

use std::env;
use std::env::consts::EXE_SUFFIX;

use connector_ipc::{Condition, ExaminedReport};
use connector_platform::registration::{Registration, Standing};

use crate::exit::Failure;

/// Looks at what keeps the service from answering.
pub(super) fn look(failure: &Failure) -> Vec<ExaminedReport> {
    let about_the_rest = ExaminedReport {
        code: "rest".to_owned(),
        is_network: false,
        condition: Condition::Unknown,
        title: "Everything else".to_owned(),
        finding: "Only the service can look at it.".to_owned(),
        cure: None,
    };
    vec![
        judge_service(failure, registered()),
        programs_proxy(),
        about_the_rest,
    ]
}

/// Looks at what sends the caller's programs past the connector.
pub(super) fn programs_proxy() -> ExaminedReport {
    let is_away = |name: &&str| env::var(name).is_ok_and(|value| leads_away(&value));
    let variables: Vec<&str> = PROXY_VARIABLES.into_iter().filter(is_away).collect();
    judge_proxy(&variables)
}

/// Returns whether a proxy is elsewhere: the connector's own is on this computer.
fn leads_away(proxy: &str) -> bool {
    let rest = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let is_here = ["127.", "localhost", "[::1]"]
        .iter()
        .any(|here| host.starts_with(here));
    !host.is_empty() && !is_here
}

fn registered() -> Option<Standing> {
    let own = env::current_exe().ok()?;
    let service = own.with_file_name(format!("ztnad{EXE_SUFFIX}"));
    Registration::of(&service).ok()?.standing().ok()
}

fn judge_service(failure: &Failure, registered: Option<Standing>) -> ExaminedReport {
    let standing = match registered {
        None => "",
        Some(Standing {
            is_installed: false,
            ..
        }) => " It is not installed as a service of this computer.",
        Some(Standing {
            is_running: true, ..
        }) => " The system says that it runs.",
        Some(Standing {
            starts_at_boot: true,
            ..
        }) => " It is installed, and starts at each boot, but does not run.",
        Some(_) => " It is installed, but does not run, and does not start at boot.",
    };
    ExaminedReport {
        code: "service".to_owned(),
        is_network: false,
        condition: Condition::Problem,
        title: "The service".to_owned(),
        finding: format!("It does not answer: {failure}.{standing}"),
        cure: failure.remedy().map(str::to_owned),
    }
}

fn judge_proxy(variables: &[&str]) -> ExaminedReport {
    let is_set = !variables.is_empty();
    ExaminedReport {
        code: "programs-proxy".to_owned(),
        is_network: true,
        condition: if is_set {
            Condition::Warning
        } else {
            Condition::Good
        },
        title: "Your programs' proxy".to_owned(),
        finding: match is_set {
            true => format!(
                "{} is set where you are: what programs send to that proxy does not come by the connector.",
                variables.join(", ")
            ),
            false => "None is set where you are.".to_owned(),
        },
        cure: is_set.then(|| {
            "Name the company's applications in no_proxy, as in no_proxy=.corp.example, or take the variable away.".to_owned()
        }),
    }
}

/// What most programs heed.
const PROXY_VARIABLES: [&str; 6] = [
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

#[cfg(test)]
mod tests {
    use connector_client::ServiceError;

    use super::*;

    #[test]
    fn a_service_that_does_not_answer_is_told_with_what_the_system_knows_of_it() {
        let failure = Failure::Service(ServiceError::Closed);
        let found = |is_installed, is_running, starts_at_boot| {
            let standing = Standing {
                is_installed,
                is_running,
                starts_at_boot,
            };
            judge_service(&failure, Some(standing)).finding
        };

        assert!(found(false, false, false).contains("not installed"));
        assert!(found(true, true, true).contains("says that it runs"));
        assert!(found(true, false, true).contains("does not run"));
        assert!(found(true, false, false).contains("not start at boot"));
        let alone = judge_service(&failure, None);
        assert_eq!(alone.condition, Condition::Problem);
        assert!(alone.cure.is_some() && alone.finding.ends_with('.'));
    }

    #[test]
    fn a_proxy_on_this_computer_is_not_in_the_way() {
        for here in [
            "http://127.0.0.1:7080",
            "socks5h://localhost:1080",
            "[::1]:7080",
            "",
        ] {
            assert!(!leads_away(here), "{here}");
        }
        for away in [
            "http://proxy.corp.test:3128",
            "http://user:secret@10.0.0.1:80",
            "proxy",
        ] {
            assert!(leads_away(away), "{away}");
        }
    }

    #[test]
    fn a_proxy_of_programs_is_in_the_way_of_them() {
        assert_eq!(judge_proxy(&[]).condition, Condition::Good);
        let set = judge_proxy(&["https_proxy"]);
        assert_eq!(set.condition, Condition::Warning);
        assert!(set.cure.is_some() && set.finding.starts_with("https_proxy is set"));
    }
}
