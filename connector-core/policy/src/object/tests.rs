use super::*;

#[test]
fn objects_have_the_bytes_and_names_that_permguard_gives_them() {
    let metadata = Metadata::from([
        ("code-id", Plain::Text("p1".into())),
        ("code-type-id", Plain::Number(2)),
    ]);
    let policy = Object::Blob(Blob {
        datatype: 2,
        metadata: metadata.clone(),
        data: br#"{"effect":"permit"}"#.to_vec(),
    });
    let manifest = Object::Blob(Blob {
        datatype: 1,
        metadata: Metadata::default(),
        data: b"{}".to_vec(),
    });
    let tree = Object::Tree(Tree {
        entries: vec![Entry {
            oid: Oid::of(&policy.encode()),
            name: "p1".into(),
            datatype: 2,
            metadata,
        }],
        partition: "/".into(),
    });
    let commit = Object::Commit(Commit {
        profiles: vec![("ztas_app/".into(), Oid::of(&tree.encode()))],
        predecessor: Oid::ZERO,
        author: "a".into(),
        authored_at: 1_700_000_000,
        committer: "a".into(),
        committed_at: 1_700_000_000,
        message: "m".into(),
        manifest: Oid::of(&manifest.encode()),
    });

    for (object, length, name) in [
        (
            &policy,
            61,
            "bafyreiayyrnhqvvmwdvbjvcmlwxqmidskj3zpuaoldxadqq6dupe35qyqu",
        ),
        (
            &manifest,
            18,
            "bafyreieccpchtjbpo6prmbvwgduf4vbik6e7b72xteku34kiimmgwbzt6y",
        ),
        (
            &tree,
            118,
            "bafyreigmlbgxdpzjtq6eara32ravs7hr2dy4xm2xyzc4ql34l4ox676k3e",
        ),
        (
            &commit,
            234,
            "bafyreid7agtgrkqvalf6wtzdjbj3rdakkts3n5asm4fcrxnu6ess3gugoq",
        ),
    ] {
        let bytes = object.encode();

        assert_eq!(bytes.len(), length, "{}", object.kind());
        assert_eq!(Oid::of(&bytes).to_string(), name, "{}", object.kind());
        assert_eq!(Object::parse(&bytes).as_ref(), Ok(object));
    }
    assert_eq!(
        hex(&policy.encode()),
        "a20164626c6f62025833a3010202a267636f64652d69646270316c636f64652d747970652d69640203\
         537b22656666656374223a227065726d6974227d"
    );
}

#[test]
fn whatever_is_read_is_written_back_to_the_same_bytes() {
    let bytes = tree(&["a", "b", "c"]).encode();

    for cut in 0..bytes.len() {
        assert!(Object::parse(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << bit;
            if let Ok(object) = Object::parse(&changed) {
                assert_eq!(object.encode(), changed, "byte {index}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_file_may_not_be_there_twice_nor_out_of_order() {
    let Object::Tree(good) = tree(&["a", "b"]) else {
        panic!("a tree");
    };
    let mut twice = good.clone();
    twice.entries[1].name = twice.entries[0].name.clone();
    assert!(matches!(
        Object::parse(&Object::Tree(twice).encode()),
        Err(InvalidObject::NameTwice(_))
    ));

    let bytes = Object::Tree(good.clone()).encode();
    let mut names: Vec<String> = good.entries.iter().map(|e| e.oid.to_string()).collect();
    names.sort();
    let swapped = String::from_utf8_lossy(&bytes)
        .contains(&names[0])
        .then(|| replace(&bytes, &[(&names[0], &names[1]), (&names[1], &names[0])]));
    assert!(matches!(
        Object::parse(&swapped.unwrap()),
        Err(InvalidObject::Unsorted(_))
    ));
}

#[test]
fn trees_within_trees_other_kinds_and_names_that_cannot_be_shown_are_refused() {
    let bytes = tree(&["a"]).encode();

    let nested = replace_first(&bytes, b"\x01\x64blob", b"\x01\x64tree");
    assert!(matches!(
        Object::parse(&nested),
        Err(InvalidObject::EntryKind(kind)) if kind == "tree"
    ));
    let unknown = replace_first(&bytes, b"\x64tree", b"\x64tent");
    assert!(matches!(
        Object::parse(&unknown),
        Err(InvalidObject::Kind(kind)) if kind == "tent"
    ));
    assert!(matches!(
        Object::parse(&tree(&["a\u{1b}[31m"]).encode()),
        Err(InvalidObject::Name(_))
    ));
}

#[test]
fn too_many_entries_and_too_many_bytes_are_refused_at_once() {
    let mut content = Writer::default();
    content.map(2).unsigned(1).array(1_000_000);
    let mut bytes = content.finish();
    bytes.resize(1_000_000, 0xa5);
    let mut envelope = Writer::default();
    envelope.map(2).unsigned(1).text("tree");
    envelope.unsigned(2).bytes(&bytes);

    assert_eq!(
        Object::parse(&envelope.finish()),
        Err(NotCanonical::TooMany(1_000_000).into())
    );
    assert_eq!(
        Object::parse(&vec![0; MAX_OBJECT + 1]),
        Err(InvalidObject::TooLarge(MAX_OBJECT + 1))
    );
}

#[test]
fn deep_nesting_is_refused_without_descending() {
    for opener in [0x81_u8, 0xa1, 0xd8] {
        let deep = vec![opener; 100_000];
        assert!(Object::parse(&deep).is_err());

        let mut blob = Writer::default();
        blob.map(3)
            .unsigned(1)
            .unsigned(1)
            .unsigned(2)
            .map(1)
            .text("x");
        let mut content = blob.finish();
        content.extend_from_slice(&deep);
        let mut envelope = Writer::default();
        envelope.map(2).unsigned(1).text("blob");
        envelope.unsigned(2).bytes(&content);
        assert!(Object::parse(&envelope.finish()).is_err());
    }
}

fn tree(names: &[&str]) -> Object {
    let entries = names.iter().map(|name| Entry {
        oid: Oid::of(name.as_bytes()),
        name: (*name).to_owned(),
        datatype: Entry::POLICY,
        metadata: Metadata::default(),
    });
    Object::Tree(Tree {
        entries: entries.collect(),
        partition: "/".into(),
    })
}

fn replace(bytes: &[u8], pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for (from, to) in pairs {
        let at = find(bytes, from.as_bytes());
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    changed
}

fn replace_first(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = find(bytes, from);
    changed[at..at + to.len()].copy_from_slice(to);
    changed
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
