//! The Service Control Manager, where it has started the service.

use std::ffi::OsString;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::Notify;
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};
use windows_service::{define_windows_service, service_dispatcher};

use super::SERVICE_NAME;

#[derive(Debug)]
pub(super) struct Supervisor;

impl Supervisor {
    pub(super) fn find(_environment: impl Fn(&str) -> Option<OsString>) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "systemd has one")]
    pub(super) const fn pace(&self) -> Option<Duration> {
        None
    }

    #[expect(
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "systemd is told"
    )]
    pub(super) const fn alive(&mut self) {}

    #[expect(clippy::unused_self, reason = "systemd has a channel of its own")]
    pub(super) fn tell(&self, state: &str) {
        match state {
            "READY=1" => report(ServiceState::Running, 0),
            "STOPPING=1" => report(ServiceState::StopPending, 0),
            _ => {}
        }
    }
}

/// Gives this process to the Service Control Manager, which has `body` run.
pub(super) fn host(body: fn() -> bool) -> io::Result<()> {
    let _ = BODY.set(body);
    service_dispatcher::start(SERVICE_NAME, entry).map_err(io::Error::other)
}

/// Returns whether the Service Control Manager runs this process.
pub(crate) fn is_host() -> bool {
    HANDLE.get().is_some()
}

/// Waits until the Service Control Manager wishes the service to end.
pub(crate) async fn stop_wished() {
    STOP.notified().await;
}

define_windows_service!(entry, main);

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what was not asked for is not there to be answered, whatever is added"
)]
fn main(_arguments: Vec<OsString>) {
    let on_control = |control| match control {
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Shutdown | ServiceControl::Stop => {
            STOP.notify_one();
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    // Without it nobody would ever stop the service: better that it does not start.
    let Ok(handle) = service_control_handler::register(SERVICE_NAME, on_control) else {
        return;
    };
    let _ = HANDLE.set(handle);
    report(ServiceState::StartPending, 0);
    let has_succeeded = BODY.get().is_some_and(|body| body());
    report(ServiceState::Stopped, u32::from(!has_succeeded));
}

fn report(current_state: ServiceState, code: u32) {
    let Some(handle) = HANDLE.get() else { return };
    let controls_accepted = match current_state {
        ServiceState::Running => ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN,
        ServiceState::ContinuePending
        | ServiceState::PausePending
        | ServiceState::Paused
        | ServiceState::StartPending
        | ServiceState::StopPending
        | ServiceState::Stopped => ServiceControlAccept::empty(),
    };
    // What cannot be told is not told again: the manager loses patience by itself.
    let _ = handle.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state,
        controls_accepted,
        exit_code: match code {
            0 => ServiceExitCode::NO_ERROR,
            code => ServiceExitCode::ServiceSpecific(code),
        },
        checkpoint: 0,
        wait_hint: PATIENCE,
        process_id: None,
    });
}

static BODY: OnceLock<fn() -> bool> = OnceLock::new();
static HANDLE: OnceLock<ServiceStatusHandle> = OnceLock::new();
static STOP: Notify = Notify::const_new();

/// Reading settings and state at the start, resetting connections at the end.
const PATIENCE: Duration = Duration::from_secs(10);
