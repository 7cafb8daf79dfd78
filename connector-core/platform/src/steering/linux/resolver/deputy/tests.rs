use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

#[test]
fn what_was_there_is_replaced_and_put_back() {
    let etc = tempfile::tempdir().unwrap();
    let path = etc.path().join("resolv.conf");
    let prepare: [&dyn Fn(); 4] = [
        &|| {
            fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        },
        // Unwise, but not for a deputy to judge.
        &|| {
            fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        },
        &|| symlink("/run/systemd/resolve/stub-resolv.conf", &path).unwrap(),
        &|| {},
    ];
    for prepare in prepare {
        let _ = fs::remove_file(&path);
        prepare();
        let original = Config::read(&path).unwrap();

        assert_eq!(ask(&path, &put(&ours())), "done\n");
        assert_eq!(fs::read(&path).unwrap(), ours());
        assert_eq!(ask(&path, &put(&ours())), "done\n");
        let request = Request::Restore {
            original: original.clone(),
        };
        assert_eq!(ask(&path, &request), "done\n", "{original:?}");
        assert_eq!(Config::read(&path).unwrap(), original);
    }
}

#[test]
fn nothing_but_settings_of_a_resolver_is_written() {
    let etc = tempfile::tempdir().unwrap();
    let path = etc.path().join("resolv.conf");
    let with = |rest: &[u8]| [file::MARKER, rest].concat();
    for text in [
        b"nameserver 192.0.2.1\n".to_vec(),
        with(b"root::0:0::/:/bin/sh\n"),
        with(b"# a remark\n"),
        with(b"nameserver 192.0.2.1\x1b[2J\n"),
        with(b"search \xff\n"),
        with(b"\n"),
    ] {
        let answer = ask(&path, &put(&text));

        assert!(answer.contains("the text"), "{answer}");
        assert!(!path.exists());
    }
    let long = vec![b'x'; usize::try_from(MAX_REQUEST).unwrap() + 1];
    assert!(serve_bytes(&path, &long).contains("too long"));
    for garbled in [&b"{"[..], b"", b"{\"change\":\"remove\"}"] {
        assert_ne!(serve_bytes(&path, garbled), "done\n");
    }
    assert!(!path.exists());
}

#[test]
fn nothing_is_put_back_that_gives_anybody_more_rights() {
    let etc = tempfile::tempdir().unwrap();
    let path = etc.path().join("resolv.conf");
    let own = geteuid().as_raw();
    let file = |mode: u32, user: u32| {
        let text = format!(
            r#"{{"change":"restore","original":{{"is":"file","bytes":[],"mode":{mode},"user":{user},"group":0,"modified":[0,0]}}}}"#
        );
        text.into_bytes()
    };
    let link = |target: &str| {
        let text =
            format!(r#"{{"change":"restore","original":{{"is":"link","target":"{target}"}}}}"#);
        text.into_bytes()
    };
    for request in [
        file(0o4755, own),
        file(0o755, own),
        file(0o666, own),
        file(0o644, own + 1),
        link("/etc/shadow"),
        link("../run/systemd/resolve/../../ztna/mine"),
        link("mine"),
    ] {
        fs::write(&path, ours()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

        let answer = serve_bytes(&path, &request);

        assert_ne!(answer, "done\n");
        assert_eq!(fs::read(&path).unwrap(), ours(), "{answer}");
    }
}

#[test]
fn a_link_to_an_unusual_place_is_not_replaced_since_it_could_not_be_put_back() {
    let etc = tempfile::tempdir().unwrap();
    let path = etc.path().join("resolv.conf");
    symlink("/nix/store/resolv.conf", &path).unwrap();

    let answer = ask(&path, &put(&ours()));

    assert!(answer.contains("/nix/store/resolv.conf"), "{answer}");
    assert!(path.is_symlink());
}

#[test]
fn links_are_compared_by_where_they_lead() {
    let path = Path::new("/etc/resolv.conf");
    for target in [
        "../run/systemd/resolve/stub-resolv.conf",
        "/run/NetworkManager/resolv.conf",
        "resolvconf/run/resolv.conf",
        "./resolvconf/run/resolv.conf",
    ] {
        assert!(check_target(path, Path::new(target)).is_ok(), "{target}");
    }
}

#[test]
fn the_service_hears_what_became_of_its_request() {
    let etc = tempfile::tempdir().unwrap();
    let path = etc.path().join("resolv.conf");
    let socket = etc.path().join("deputy.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let served = path.clone();
    let systemd = thread::spawn(move || {
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            serve_at(&served, &stream, &stream).unwrap();
        }
    });
    let deputy = Deputy(socket);

    deputy.put(&ours()).unwrap();
    let refused = deputy.put(b"nonsense").unwrap_err();

    systemd.join().unwrap();
    assert_eq!(fs::read(&path).unwrap(), ours());
    assert_eq!(refused.to_string(), "the text is not the connector's");
    let gone = deputy.put(&ours()).unwrap_err();
    assert!(gone.to_string().contains("deputy.sock"), "{gone}");
}

fn ours() -> Vec<u8> {
    file::pointing_at(
        &["198.18.0.1".parse().unwrap()],
        b"search corp.example\noptions ndots:2\nnameserver 192.0.2.1\n",
    )
}

fn put(text: &[u8]) -> Request {
    Request::Put {
        text: text.to_vec(),
    }
}

fn ask(path: &Path, request: &Request) -> String {
    serve_bytes(path, &serde_json::to_vec(request).unwrap())
}

fn serve_bytes(path: &Path, request: &[u8]) -> String {
    let mut answer = Vec::new();
    serve_at(path, request, &mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}
