//! Under a supervisor that speaks systemd's protocol.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use e2e::lab::Lab;
use e2e::process::Running;
use e2e::scene::Scene;
use e2e::service::Connector;
use e2e::wait::{DEADLINE, until};

#[test]
fn systemd_hears_that_the_service_is_ready_and_at_work_until_it_ends() {
    let scene = Scene::new("notify");
    let lab = Lab::start(&scene);
    let connector = Connector::install(&scene, &lab);
    let path = scene.path("notify");
    let socket = UnixDatagram::bind(&path).expect("the supervisor's socket");
    socket.set_nonblocking(true).expect("a patient supervisor");
    let mut command = connector.command();
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000");

    let mut service = Running::start(&scene, "ztnad", &mut command);

    let mut told = Vec::new();
    let signs = |told: &[String]| told.iter().filter(|state| *state == "WATCHDOG=1").count();
    until("a service that is ready and at work", DEADLINE, || {
        assert!(!service.has_ended(), "{}", service.log());
        told.extend(receive(&socket));
        let is_ready = told.iter().any(|state| state == "READY=1");
        (is_ready && signs(&told) >= 10).then_some(())
    });
    assert!(
        told.contains(&"STATUS=Nobody is signed in".to_owned()),
        "{told:?}"
    );
    assert!(connector.ztna(&["whoami"]).status.code() == Some(3));

    service.signal("TERM");
    let (status, _) = service.wait(DEADLINE);
    assert!(status.success(), "{status}");
    let last: Vec<String> = std::iter::from_fn(|| receive(&socket)).collect();
    assert!(last.contains(&"STOPPING=1".to_owned()), "{last:?}");
}

#[test]
fn a_service_that_stands_still_gives_no_sign_of_life() {
    let scene = Scene::new("stuck");
    let lab = Lab::start(&scene);
    let connector = Connector::install(&scene, &lab);
    let path = scene.path("notify");
    let socket = UnixDatagram::bind(&path).expect("the supervisor's socket");
    let mut command = connector.command();
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let service = Running::start(&scene, "ztnad", &mut command);
    let sign = |patience| {
        let deadline = Some(patience);
        socket.set_read_timeout(deadline).expect("a deadline");
        receive(&socket)
    };
    while sign(DEADLINE).as_deref() != Some("WATCHDOG=1") {}

    service.signal("STOP");
    socket.set_nonblocking(true).expect("what waits is read");
    while receive(&socket).is_some() {}
    socket.set_nonblocking(false).expect("what comes is read");

    assert_eq!(sign(Duration::from_secs(1)), None);
    service.signal("CONT");
    assert!(sign(DEADLINE).is_some());
}

fn receive(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
