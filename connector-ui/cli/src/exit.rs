//! How the command ends.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use connector_client::{ServiceError, is_forbidden};
use connector_ipc::{FailureKind, VERSION};
use connector_platform::decision_log::LogError;
use connector_platform::endpoint::ConnectError;
use connector_platform::registration::RegistrationError;

use crate::text::plural;

/// The exit codes. Scripts rely on them; a meaning never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    General = 1,
    Usage = 2,
    NotSignedIn = 3,
    NotRunning = 4,
    Denied = 5,
    PostureUnmet = 6,
    TimedOut = 7,
    NoRights = 8,
    Locked = 9,
    Offline = 10,
    /// As the shell reports a program that Ctrl-C ended.
    Interrupted = 130,
    /// As the shell reports a program whose reader went away.
    OutputClosed = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something that was named on the command line cannot be used.
    #[error("{0}")]
    Input(String),
    #[error("interrupted; you are not signed in")]
    Interrupted,
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// Whoever read the output has gone, which is nothing to complain about.
    #[error("the output was closed")]
    OutputClosed,
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error("{0}")]
    Repair(String),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("you did not finish signing in within {}", limit(*.0))]
    SignInTimedOut(u64),
    #[error(
        "{} has nothing to undo, but this machine's traffic is still steered",
        .0.display()
    )]
    JournalElsewhere(PathBuf),
    #[error("the service is running, and looks after the machine itself")]
    StillRunning,
    #[error("the service asks to open something that is no web address; it was not opened")]
    UnsafePage,
    #[error("cannot write {}: {problem}", path.display())]
    Write { path: PathBuf, problem: io::Error },
}

impl Failure {
    /// Returns the code that says what sort of failure it is.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            Self::Log(error) if is_forbidden(&error.problem) => Exit::NoRights,
            Self::Registration(RegistrationError::Forbidden { .. }) => Exit::NoRights,
            Self::Registration(RegistrationError::Absent) => Exit::NotRunning,
            Self::OutputClosed => Exit::OutputClosed,
            Self::Service(error) => exit_without_service(error),
            Self::SignInTimedOut(_) => Exit::TimedOut,
            Self::Input(_)
            | Self::JournalElsewhere(_)
            | Self::Log(_)
            | Self::Output(_)
            | Self::Registration(_)
            | Self::Repair(_)
            | Self::StillRunning
            | Self::UnsafePage
            | Self::Write { .. } => Exit::General,
        }
    }

    /// Returns what the person can do about it.
    pub(crate) fn remedy(&self) -> Option<&str> {
        match self {
            Self::Log(error) if is_forbidden(&error.problem) => Some(RIGHTS),
            Self::Log(_) => Some(
                "Name the files, or with --log-dir the directory that the service writes to: \
                 service.log_dir in `ztna config`.",
            ),
            Self::JournalElsewhere(_) => Some(
                "Name the service's directory with --state-dir, as it was started with; \
                 if that service still runs, `ztna down` undoes it.",
            ),
            Self::Registration(error) => of_registration(error),
            Self::Repair(_) => Some(
                "Run it as the user that ran the service, for the system's as root: `sudo ztna repair`.",
            ),
            Self::Service(error) => remedy_without_service(error),
            Self::StillRunning => {
                Some("Run `ztna down`, which undoes everything, or stop it first.")
            }
            Self::SignInTimedOut(_) => {
                Some("Run `ztna login` again; --timeout gives you more time.")
            }
            Self::UnsafePage => Some("Tell your administrator; the configuration is wrong."),
            Self::Input(_)
            | Self::Interrupted
            | Self::Output(_)
            | Self::OutputClosed
            | Self::Write { .. } => None,
        }
    }
}

/// Returns what the person can do about a service that is not as they wanted.
const fn of_registration(error: &RegistrationError) -> Option<&'static str> {
    match error {
        RegistrationError::Absent => Some("Install it first: `sudo ztna service install`."),
        RegistrationError::Failed { .. } => None,
        RegistrationError::Forbidden { .. } => {
            Some("Run it as the administrator: `sudo ztna service …`.")
        }
        RegistrationError::NoProgram(_) => Some("Put ztnad and ztna into one directory."),
        RegistrationError::Replaceable(_) => Some(
            "Put ztnad and ztna into a directory of the administrator's, such as /usr/local/bin.",
        ),
        RegistrationError::Packaged => {
            Some("Remove the package instead, as with `apt remove ztna`.")
        }
    }
}

fn exit_without_service(error: &ServiceError) -> Exit {
    match error {
        ServiceError::Closed => Exit::NotRunning,
        ServiceError::Connect(ConnectError::NotRunning { .. }) => Exit::NotRunning,
        ServiceError::Connect(ConnectError::Io { problem, .. }) if is_forbidden(problem) => {
            Exit::NoRights
        }
        ServiceError::Connect(ConnectError::Io { .. }) => Exit::NotRunning,
        ServiceError::NoneOfYourOwn(_) => Exit::NoRights,
        ServiceError::Refused(failure) => match failure.kind {
            FailureKind::BadRequest => Exit::General,
            FailureKind::Denied => Exit::Denied,
            FailureKind::Internal => Exit::General,
            FailureKind::Locked => Exit::Locked,
            FailureKind::NotSignedIn => Exit::NotSignedIn,
            FailureKind::Offline => Exit::Offline,
            FailureKind::PermissionDenied => Exit::NoRights,
            FailureKind::SignInRefused => Exit::NotSignedIn,
            FailureKind::TimedOut => Exit::TimedOut,
            FailureKind::VersionMismatch => Exit::General,
        },
        ServiceError::TimedOut(_) => Exit::TimedOut,
        ServiceError::Connect(ConnectError::Untrusted { .. })
        | ServiceError::Encode(_)
        | ServiceError::Garbled(_)
        | ServiceError::Io(_)
        | ServiceError::TooLong(_)
        | ServiceError::Unexpected
        | ServiceError::Version { .. } => Exit::General,
    }
}

fn remedy_without_service(error: &ServiceError) -> Option<&str> {
    match error {
        ServiceError::Closed => {
            Some("It may be stopping; its log says why. Try again in a moment.")
        }
        ServiceError::Connect(ConnectError::NotRunning { .. }) => Some(
            "Start the system's with `sudo ztna service start`, or one of your own with `ztnad --userspace`; \
             if it listens elsewhere, name the place with --socket or ZTNA_SOCKET. \
             If it crashed and names or connections fail since, run `sudo ztna repair`.",
        ),
        ServiceError::NoneOfYourOwn(_) => Some(
            "Start one of your own with `ztnad --userspace`; \
             if it listens elsewhere, name the place with --socket or ZTNA_SOCKET.",
        ),
        ServiceError::Connect(ConnectError::Io { problem, .. }) if is_forbidden(problem) => {
            Some(RIGHTS)
        }
        ServiceError::Connect(ConnectError::Io { .. }) => {
            Some("Check the path given with --socket or ZTNA_SOCKET.")
        }
        ServiceError::Connect(ConnectError::Untrusted { .. }) => Some(
            "Do not sign in there. Check the path given with --socket or ZTNA_SOCKET, \
             and tell your administrator.",
        ),
        ServiceError::Garbled(_) | ServiceError::TooLong(_) | ServiceError::Unexpected => Some(
            "Check with `ztna version` that ztna and ztnad are of the same version, \
             and that --socket names the service.",
        ),
        ServiceError::Refused(failure) => failure.remedy.as_deref().or(match failure.kind {
            FailureKind::NotSignedIn => Some("Run `ztna login`."),
            FailureKind::Offline => Some("Check the network; `ztna status` tells more."),
            FailureKind::PermissionDenied => Some(RIGHTS),
            FailureKind::VersionMismatch => Some(SAME_VERSION),
            FailureKind::Internal => Some("The service's log says why."),
            FailureKind::BadRequest
            | FailureKind::Denied
            | FailureKind::Locked
            | FailureKind::SignInRefused
            | FailureKind::TimedOut => None,
        }),
        ServiceError::TimedOut(_) => {
            Some("Try again, or wait longer with --timeout; `ztna status` tells more.")
        }
        ServiceError::Version { service } if *service < VERSION => {
            Some("Update the service (ztnad) and start it again.")
        }
        ServiceError::Version { .. } => Some("Update this command (ztna)."),
        ServiceError::Encode(_) | ServiceError::Io(_) => None,
    }
}

fn limit(seconds: u64) -> String {
    plural(usize::try_from(seconds).unwrap_or(usize::MAX), "second")
}

const RIGHTS: &str =
    "Run it as the user who runs the service, or as the administrator (`sudo ztna …`).";
const SAME_VERSION: &str = "Update ztna and ztnad to the same version, and start ztnad again.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_of_failure_has_its_code() {
        for (kind, code) in [
            (FailureKind::BadRequest, 1),
            (FailureKind::Denied, 5),
            (FailureKind::Internal, 1),
            (FailureKind::Locked, 9),
            (FailureKind::NotSignedIn, 3),
            (FailureKind::Offline, 10),
            (FailureKind::PermissionDenied, 8),
            (FailureKind::SignInRefused, 3),
            (FailureKind::TimedOut, 7),
            (FailureKind::VersionMismatch, 1),
        ] {
            assert_eq!(refused(kind).exit() as u8, code, "{kind:?}");
        }
    }

    #[test]
    fn an_endpoint_that_may_not_be_opened_is_a_matter_of_rights() {
        let failure = Failure::from(ServiceError::Connect(ConnectError::Io {
            path: "/run/ztna/ztnad.sock".into(),
            problem: io::ErrorKind::PermissionDenied.into(),
        }));

        assert_eq!(failure.exit(), Exit::NoRights);
        assert!(failure.remedy().unwrap().contains("sudo ztna"));
    }

    #[test]
    fn a_person_without_a_service_is_told_to_start_their_own() {
        let failure = Failure::from(ServiceError::NoneOfYourOwn(ConnectError::Io {
            path: "/run/ztna/ztnad.sock".into(),
            problem: io::ErrorKind::PermissionDenied.into(),
        }));

        assert_eq!(failure.exit(), Exit::NoRights);
        assert!(failure.to_string().starts_with("no service of your own"));
        let remedy = failure.remedy().unwrap();
        assert!(remedy.contains("ztnad --userspace") && !remedy.contains("system"));
    }

    #[test]
    fn times_are_counted_as_people_do() {
        assert!(ServiceError::TimedOut(1).to_string().ends_with(" 1 second"));
        assert!(
            Failure::SignInTimedOut(2)
                .to_string()
                .ends_with(" 2 seconds")
        );
    }

    #[test]
    fn somebody_elses_service_is_not_advised_to_be_started() {
        let failure = Failure::from(ServiceError::Connect(ConnectError::Untrusted {
            path: "/tmp/x".into(),
            user: 7,
        }));

        assert_eq!(failure.exit(), Exit::General);
        assert!(!failure.remedy().unwrap().contains("Start"));
    }

    #[test]
    fn the_older_side_is_to_be_updated() {
        let of = |service| Failure::from(ServiceError::Version { service });

        assert!(of(0).remedy().unwrap().contains("ztnad"));
        assert!(of(9).remedy().unwrap().contains("this command"));
        assert!(of(9).to_string().contains("version 9"));
    }

    #[test]
    fn the_services_own_advice_goes_first() {
        let mut failure = connector_ipc::Failure {
            kind: FailureKind::NotSignedIn,
            message: "the session has ended".into(),
            remedy: None,
        };
        assert_eq!(
            Failure::from(ServiceError::from(failure.clone())).remedy(),
            Some("Run `ztna login`.")
        );

        failure.remedy = Some("Ask Bob.".into());
        assert_eq!(
            Failure::from(ServiceError::from(failure)).remedy(),
            Some("Ask Bob.")
        );
    }

    fn refused(kind: FailureKind) -> Failure {
        Failure::from(ServiceError::Refused(connector_ipc::Failure {
            kind,
            message: "no".into(),
            remedy: None,
        }))
    }
}
