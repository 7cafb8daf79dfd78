use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::*;

#[test]
fn a_deputy_names_the_program_that_holds_a_socket() {
    let place = Place::new();
    let _serving = place.serve(FOREVER);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let held = held(&socket);

    let (program, process) = place.deputy().holder_of(&[held]).unwrap().unwrap();

    let own = std::env::current_exe().unwrap();
    assert_eq!(Path::new(&program.path), own);
    assert_eq!(process, std::process::id());
    assert_eq!(
        Some((program, process)),
        owner::attribute_patiently(&[held])
    );
}

#[test]
fn what_nobody_holds_has_no_program() {
    let place = Place::new();
    let _serving = place.serve(FOREVER);
    let nobodys = Socket {
        user: geteuid().as_raw(),
        inode: u32::MAX,
    };

    for sockets in [&[][..], &[nobodys]] {
        assert_eq!(place.deputy().holder_of(sockets).unwrap(), None);
    }
}

#[test]
fn a_deputy_tells_which_executable_a_process_runs_and_how_screens_lock() {
    let place = Place::new();
    let _serving = place.serve(FOREVER);
    let deputy = place.deputy();
    let executable = |process| told(&deputy.ask(&Question::Executable { process }).unwrap());
    let own = std::env::current_exe().unwrap();

    assert_eq!(
        executable(std::process::id()),
        serde_json::json!({ "executable": own })
    );
    assert_eq!(
        executable(u32::MAX),
        serde_json::json!({ "executable": null })
    );
    assert_eq!(
        told(&deputy.ask(&Question::ScreenLocks).unwrap()),
        serde_json::json!({ "screen-locks": [{ "is_enabled": true, "grace_seconds": 5 }, null] })
    );
}

#[test]
fn of_files_a_deputy_tells_what_may_be_executed_and_nothing_else() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let _serving = place.serve(FOREVER);
    let deputy = place.deputy();
    let folder = place.folder.path().canonicalize().unwrap();
    let file = |name: &str, content: &str, mode| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let program = file("program", "abc", 0o700);
    let pipe = folder.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let ask = |path: &Path| {
        let path = path.to_str().unwrap().to_owned();
        deputy.ask(&Question::Program { path }).unwrap()
    };

    let found = told(&ask(&program));
    assert_eq!(found["program"]["path"], program.to_str().unwrap());
    assert_eq!(
        found["program"]["sha256"],
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let refusals = [
        file("secret", "abc", 0o600),
        file("script", "#!/bin/sh", 0o755),
        pipe,
        folder.clone(),
        folder.join("nothing"),
        PathBuf::from("program"),
    ]
    .map(|path| format!("{:?}", ask(&path)));
    assert!(
        refusals.iter().all(|refusal| *refusal == refusals[0]),
        "{refusals:?}"
    );
    assert!(refusals[0].starts_with("Refused"));
}

#[test]
fn what_is_no_question_closes_the_connection_and_nothing_else() {
    let place = Place::new();
    let _serving = place.serve(FOREVER);
    let framed = |text: &str| {
        [
            &u32::try_from(text.len()).unwrap().to_le_bytes(),
            text.as_bytes(),
        ]
        .concat()
    };
    let deep = "[".repeat(10_000);
    for hostile in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        (MAX_QUESTION + 1).to_le_bytes().to_vec(),
        u32::MAX.to_le_bytes().to_vec(),
        framed(""),
        framed(&deep),
        framed("\u{0}"),
        framed(r#"{"question":"environment","process":1}"#),
        framed(r#"{"question":"executable","process":"1/../2"}"#),
        framed(r#"{"question":"executable","process":-1}"#),
        framed(r#"{"question":"executable","process":4294967296}"#),
        framed(r#"{"question":"executable","process":1,"path":"/etc/shadow"}"#),
        framed(r#"{"question":"holder","sockets":[{"user":0}]}"#),
    ] {
        let mut stream = place.connect();
        // It may be closed before all of this is taken.
        let _ = stream.write_all(&hostile);

        assert_is_closed(&mut stream);
    }

    assert_answers(&place);
}

#[test]
fn half_a_question_is_waited_for_a_while_only_and_idle_connections_for_ever() {
    let place = Place::new();
    let _serving = place.serve(FOREVER);
    let _idle = place.connect();
    let mut slow = place.connect();
    slow.write_all(&[200, 0, 0]).unwrap();

    let begun = Instant::now();
    assert_answers(&place);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "nobody waits for the slow one"
    );

    assert_is_closed(&mut slow);
}

#[test]
fn a_peer_that_takes_no_answers_is_left() {
    let place = Place::new();
    let serving = place.serve(Duration::from_millis(50));
    let stream = place.connect();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    let question = br#"{"question":"screen-locks"}"#;
    let frame = [
        &u32::try_from(question.len()).unwrap().to_le_bytes(),
        &question[..],
    ]
    .concat();

    // Until both buffers are full, and then until the deputy has closed it.
    let end = Instant::now() + DEADLINE;
    while (&stream).write_all(&frame).is_ok() {
        assert!(Instant::now() < end, "it is never left");
    }

    assert!(serving.join().unwrap().is_ok());
}

#[test]
fn one_connection_too_many_is_closed_at_once() {
    let place = Place::new();
    let _serving = place.serve(FOREVER);
    let all: Vec<_> = (0..serving::MAX_CONNECTIONS)
        .map(|_| place.connect())
        .collect();

    assert_is_closed(&mut place.connect());

    drop(all);
    let end = Instant::now() + DEADLINE;
    while place
        .deputy()
        .ask(&Question::Executable { process: 1 })
        .is_err()
    {
        assert!(Instant::now() < end, "the others' places are free again");
    }
}

#[test]
fn a_deputy_ends_when_it_is_idle_and_its_successor_is_found() {
    let place = Place::new();
    let deputy = place.deputy();
    for _ in 0..3 {
        let serving = place.serve(Duration::from_millis(20));

        // The first question comes over a connection that the predecessor had.
        assert!(deputy.ask(&Question::ScreenLocks).is_ok());

        assert!(serving.join().unwrap().is_ok());
        // As when its process ends.
        deputy
            .lock()
            .kept
            .iter()
            .for_each(|stream| stream.shutdown(std::net::Shutdown::Both).unwrap());
        assert_eq!(deputy.lock().kept.len(), 1);
    }
}

#[test]
fn without_a_deputy_no_program_is_known() {
    let place = Place::new();
    let deputy = place.deputy();
    assert!(deputy.is_for_this_user());
    let Place {
        folder, listener, ..
    } = place;
    drop(listener);
    assert!(deputy.holder_of(&[]).is_err());

    drop(folder);
    assert!(!deputy.is_for_this_user());
    assert!(deputy.holder_of(&[]).is_err());
}

#[test]
fn many_ask_at_once_over_few_connections() {
    static MOST: AtomicUsize = AtomicUsize::new(0);
    static NOW: AtomicUsize = AtomicUsize::new(0);
    let place = Place::new();
    let _serving = place.serve_with(FOREVER, |_| {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::yield_now();
        NOW.fetch_sub(1, Ordering::SeqCst);
        Answer::Executable(None)
    });
    let deputy = Arc::new(place.deputy());

    let askers: Vec<_> = (0..40)
        .map(|process| {
            let deputy = Arc::clone(&deputy);
            thread::spawn(move || {
                (0..20).all(|_| deputy.ask(&Question::Executable { process }).is_ok())
            })
        })
        .collect();

    assert!(askers.into_iter().all(|asker| asker.join().unwrap()));
    assert!(MOST.load(Ordering::SeqCst) <= MAX_IN_USE);
    assert!(deputy.lock().kept.len() <= MAX_IN_USE);
}

#[test]
fn an_answer_to_another_question_is_none() {
    let place = Place::new();
    let _serving = place.serve_with(FOREVER, |question| match question {
        Question::Executable { .. } => Answer::Holder(None),
        Question::Holder { .. } => Answer::Executable(None),
        Question::Program { .. } | Question::ScreenLocks => Answer::Refused("not today".to_owned()),
    });

    let error = place.deputy().holder_of(&[]).unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

/// Where a deputy is found.
struct Place {
    folder: tempfile::TempDir,
    path: PathBuf,
    listener: Arc<UnixListener>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deputy");
        let listener = Arc::new(UnixListener::bind(&path).unwrap());
        Self {
            folder,
            path,
            listener,
        }
    }

    fn serve(&self, idle: Duration) -> JoinHandle<io::Result<()>> {
        self.serve_with(idle, |question| answer(question, screens))
    }

    fn serve_with(
        &self,
        idle: Duration,
        answer: impl Fn(Question) -> Answer + Send + Sync + 'static,
    ) -> JoinHandle<io::Result<()>> {
        let listener = Arc::clone(&self.listener);
        thread::spawn(move || serving::serve(&listener, answer, idle))
    }

    fn deputy(&self) -> Deputy {
        Deputy::at(&self.path)
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }
}

fn told(answer: &Answer) -> serde_json::Value {
    serde_json::to_value(answer).unwrap()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "people's settings may be unreadable"
)]
fn screens() -> io::Result<ScreenLocks> {
    let locked = ScreenLock {
        is_enabled: true,
        grace_seconds: 5,
    };
    Ok(vec![Some(locked), None])
}

fn held(socket: &UdpSocket) -> Socket {
    let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
    Socket {
        user: geteuid().as_raw(),
        inode: fs::metadata(path).unwrap().ino().try_into().unwrap(),
    }
}

#[track_caller]
fn assert_is_closed(stream: &mut UnixStream) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let end = stream.read(&mut [0; 64]);
    let is_closed = match &end {
        Ok(length) => *length == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    };
    assert!(is_closed, "{end:?}");
}

#[track_caller]
fn assert_answers(place: &Place) {
    let answer = place.deputy().ask(&Question::Executable {
        process: std::process::id(),
    });
    assert!(
        matches!(answer, Ok(Answer::Executable(Some(_)))),
        "{answer:?}"
    );
}

const FOREVER: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(10);
