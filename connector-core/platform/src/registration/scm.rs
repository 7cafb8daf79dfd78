//! The Service Control Manager.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceState,
    ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_LEVEL, ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_EXISTS,
};

use super::{RegistrationError, Standing};
use crate::paths::Paths;
use crate::supervisor::SERVICE_NAME;
use crate::{access_list, event_log};

pub(super) fn install(program: &Path) -> Result<(), RegistrationError> {
    let rights = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager =
        ServiceManager::local_computer(None::<&OsStr>, rights).map_err(failed("install"))?;
    let description = ServiceInfo {
        name: SERVICE_NAME.into(),
        display_name: "ZTNA Connector".into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program.to_owned(),
        launch_arguments: vec!["--system".into(), "--service".into()],
        dependencies: vec![],
        account_name: None,
        account_password: None,
    };
    // To restart it by itself is a right of its own.
    let rights = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
    let service = match manager.create_service(&description, rights) {
        Err(error) if is(&error, ERROR_SERVICE_EXISTS) => {
            let service = open("install", rights)?;
            service
                .change_config(&description)
                .map_err(failed("install"))?;
            service
        }
        outcome => outcome.map_err(failed("install"))?,
    };
    let restart = |delay| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: Duration::from_secs(delay),
    };
    service
        .update_failure_actions(ServiceFailureActions {
            reset_period: ServiceFailureResetPeriod::After(Duration::from_secs(86_400)),
            reboot_msg: None,
            command: None,
            actions: Some(vec![restart(1), restart(5), restart(60)]),
        })
        .map_err(failed("install"))?;
    // Also when it ends by itself with an error; systems that cannot are content with crashes.
    match service.set_failure_actions_on_non_crash_failures(true) {
        Err(error) if is(&error, ERROR_INVALID_LEVEL) => {}
        outcome => outcome.map_err(failed("install"))?,
    }
    service
        .set_description("Decides about every connection to a protected application")
        .map_err(failed("install"))?;

    event_log::register().map_err(RegistrationError::failed("install"))?;
    // Before any user can make it: what lies there, the service trusts.
    let settings = Paths::system().admin_config;
    let directory = settings.parent().unwrap_or(&settings);
    access_list::create_for_administrators(directory).map_err(RegistrationError::failed("install"))
}

pub(super) fn uninstall() -> Result<(), RegistrationError> {
    if standing()?.is_running {
        stop()?;
    }
    open("uninstall", ServiceAccess::DELETE)?
        .delete()
        .map_err(failed("uninstall"))?;
    event_log::unregister().map_err(RegistrationError::failed("uninstall"))
}

pub(super) fn start() -> Result<(), RegistrationError> {
    let service = open("start", ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
    if state(&service, "start")? != ServiceState::Running {
        service.start::<OsString>(&[]).map_err(failed("start"))?;
    }
    wait(&service, "start", ServiceState::Running)
}

pub(super) fn stop() -> Result<(), RegistrationError> {
    let service = open("stop", ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
    if state(&service, "stop")? != ServiceState::Stopped {
        service.stop().map_err(failed("stop"))?;
    }
    wait(&service, "stop", ServiceState::Stopped)
}

pub(super) fn standing() -> Result<Standing, RegistrationError> {
    let rights = ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG;
    let service = match open("ask about", rights) {
        Err(RegistrationError::Absent) => return Ok(Standing::default()),
        outcome => outcome?,
    };
    let config = service.query_config().map_err(failed("ask about"))?;
    Ok(Standing {
        is_installed: true,
        is_running: state(&service, "ask about")? == ServiceState::Running,
        starts_at_boot: config.start_type == ServiceStartType::AutoStart,
    })
}

fn open(action: &'static str, rights: ServiceAccess) -> Result<Service, RegistrationError> {
    let manager = ServiceManager::local_computer(None::<&OsStr>, ServiceManagerAccess::CONNECT)
        .map_err(failed(action))?;
    match manager.open_service(SERVICE_NAME, rights) {
        Err(error) if is(&error, ERROR_SERVICE_DOES_NOT_EXIST) => Err(RegistrationError::Absent),
        outcome => outcome.map_err(failed(action)),
    }
}

fn state(service: &Service, action: &'static str) -> Result<ServiceState, RegistrationError> {
    let status = service.query_status().map_err(failed(action))?;
    Ok(status.current_state)
}

fn wait(
    service: &Service,
    action: &'static str,
    wanted: ServiceState,
) -> Result<(), RegistrationError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = state(service, action)?;
        if found == wanted {
            return Ok(());
        }
        let has_ended = wanted == ServiceState::Running && found == ServiceState::Stopped;
        if has_ended || Instant::now() > deadline {
            let problem = format!("it is {found:?}; the event log and its own log tell why");
            return Err(RegistrationError::failed(action)(io::Error::other(problem)));
        }
        std::thread::sleep(PAUSE);
    }
}

fn failed(action: &'static str) -> impl Fn(windows_service::Error) -> RegistrationError {
    move |error| {
        let text = error.to_string();
        let problem = if let windows_service::Error::Winapi(problem) = error {
            problem
        } else {
            io::Error::other(text)
        };
        RegistrationError::failed(action)(problem)
    }
}

fn is(error: &windows_service::Error, code: u32) -> bool {
    matches!(error, windows_service::Error::Winapi(problem) if problem.raw_os_error() == Some(code.cast_signed()))
}

/// As long as the Service Control Manager itself waits for a service to start.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
