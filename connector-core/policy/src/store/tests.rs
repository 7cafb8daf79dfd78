use std::time::Duration;

use ed25519_dalek::SigningKey;

use super::*;
use crate::author::{Draft, Signature};
use crate::object::{Blob, Entry, Metadata, Plain, Tree};
use crate::pack;

#[test]
fn a_commit_is_active_when_every_object_of_it_has_come_and_not_before() {
    let draft = draft(&[("a.cedar", PERMIT)], None);
    let mut store = store();

    store.handle_head(&signed(1, draft.commit), now()).unwrap();
    let first = fetch(&mut store);
    assert_eq!(first.missing, [draft.commit]);
    for (rounds, (oid, bytes)) in draft.objects.iter().enumerate() {
        assert!(store.active().is_none(), "round {rounds}");
        store.handle_objects([bytes.clone()]).unwrap();
        let _ = oid;
    }

    let effects = drain(&mut store);
    let kept = effects.iter().find_map(|effect| match effect {
        Effect::Keep { objects, .. } => Some(objects.len()),
        Effect::Activate(_) | Effect::Deactivate | Effect::Fetch(_) | Effect::Forget(_) => None,
    });
    assert_eq!(kept, Some(draft.objects.len()));
    assert_eq!(store.active().unwrap().snapshot.commit(), draft.commit);
    assert_eq!(store.active().unwrap().snapshot.policies().count(), 1);
}

#[test]
fn what_one_batch_leads_to_may_come_in_the_same_batch() {
    let draft = draft(&[("a.cedar", PERMIT)], None);
    let mut store = store();

    store.handle_head(&signed(1, draft.commit), now()).unwrap();
    let pack = pack::write(draft.objects.iter().map(|(_, bytes)| bytes));
    let objects: Result<Vec<Vec<u8>>, _> = pack::read(&pack)
        .map(|object| object.map(<[u8]>::to_vec))
        .collect();
    store.handle_objects(objects.unwrap()).unwrap();

    assert!(store.active().is_some());
}

#[test]
fn a_next_commit_fetches_only_what_is_new_and_forgets_what_is_gone() {
    let first = draft(&[("a.cedar", PERMIT), ("b.cedar", FORBID)], None);
    let second = draft(&[("a.cedar", PERMIT)], Some(first.commit));
    let mut store = with(&first);

    store.handle_head(&signed(2, second.commit), now()).unwrap();
    let mut fetched = Vec::new();
    while let Some(Effect::Fetch(fetch)) = store.poll() {
        assert_eq!(fetch.have, Some(first.commit));
        fetched.extend(fetch.missing.clone());
        let objects = fetch.missing.iter().map(|oid| bytes(&second, oid));
        store.handle_objects(objects.collect::<Vec<_>>()).unwrap();
        if store.active().unwrap().head.sequence == Sequence(2) {
            break;
        }
    }

    // The commit and its tree; manifest, schema and the file are here.
    assert_eq!(fetched.len(), 2);
    let gone = drain(&mut store)
        .into_iter()
        .find_map(|effect| match effect {
            Effect::Forget(gone) => Some(gone),
            Effect::Activate(_) | Effect::Deactivate | Effect::Fetch(_) | Effect::Keep { .. } => {
                None
            }
        });
    assert_eq!(gone.unwrap().len(), 2);
    let log: Vec<Oid> = store.log().map(|(oid, _)| oid).collect();
    assert_eq!(log, [second.commit, first.commit]);
}

#[test]
fn commits_are_listed_with_what_they_are_and_found_by_a_part_of_their_name() {
    let first = draft(&[("a.cedar", PERMIT)], None);
    let second = draft(&[("b.cedar", FORBID)], Some(first.commit));
    let candidate = draft(&[("c.cedar", PERMIT)], Some(second.commit));
    let mut store = with(&first);
    feed(&mut store, 2, &second).unwrap();
    let head = Head {
        shadow: Some(candidate.commit),
        ..head(3, second.commit)
    };
    let signed = head.sign(&key()).unwrap();
    store.handle_head(&signed, now()).unwrap();
    offer(&mut store, &candidate).unwrap();

    let commits = store.commits();
    let found: Vec<(Oid, Standing)> = commits.iter().map(|it| (it.oid, it.standing)).collect();
    assert_eq!(
        found,
        [
            (candidate.commit, Standing::Candidate),
            (second.commit, Standing::Active),
            (first.commit, Standing::Past),
        ]
    );
    assert_eq!(store.find("active").unwrap().oid, second.commit);
    assert_eq!(store.find("candidate").unwrap().oid, candidate.commit);
    let begun = &first.commit.to_string()[..20];
    assert_eq!(store.find(begun).unwrap().oid, first.commit);
    assert!(matches!(store.find("b"), Err(NotThere::Ambiguous(_))));
    assert!(matches!(store.find("x"), Err(NotThere::Commit(_))));
}

#[test]
fn files_and_policies_are_there_for_what_decides_and_for_the_candidate_only() {
    let first = draft(&[("a.cedar", PERMIT)], None);
    let second = draft(&[("b.cedar", FORBID)], Some(first.commit));
    let mut store = with(&first);
    feed(&mut store, 2, &second).unwrap();

    let active = store.find("active").unwrap();
    let files = store.files(&active).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name).collect();
    assert_eq!(names, ["b.cedar", "schema.cedarschema"]);
    assert_eq!(
        (files[0].text(), files[0].language()),
        (FORBID.into(), "cedar")
    );
    assert_eq!(files[1].language(), "schema");
    assert_eq!(
        store.policies(second.commit).unwrap().commit(),
        second.commit
    );

    let past = store.find(&first.commit.to_string()).unwrap();
    let gone = NotThere::Content(first.commit);
    assert_eq!(store.files(&past).unwrap_err(), gone);
    assert_eq!(store.policies(first.commit).unwrap_err(), gone);
    assert_eq!(store.find("candidate").unwrap_err(), NotThere::NoCandidate);
}

#[test]
fn an_expired_head_leaves_nothing_to_show() {
    let mut store = with(&draft(&[("a.cedar", PERMIT)], None));

    store.handle_timeout(now() + Duration::from_secs(8 * 86_400));

    assert!(store.commits().is_empty());
    assert_eq!(store.find("active").unwrap_err(), NotThere::NoPolicies);
}

#[test]
fn heads_never_go_back_nor_contradict_each_other() {
    let first = draft(&[("a.cedar", PERMIT)], None);
    let second = draft(&[("a.cedar", FORBID)], Some(first.commit));
    let mut store = with(&first);
    feed(&mut store, 5, &second).unwrap();

    assert!(matches!(
        store.handle_head(&signed(4, first.commit), now()),
        Err(RefusedHead::Older { .. })
    ));
    assert!(matches!(
        store.handle_head(&signed(5, first.commit), now()),
        Err(RefusedHead::Contradicts { .. })
    ));
    store.handle_head(&signed(5, second.commit), now()).unwrap();
    assert_eq!(store.active().unwrap().snapshot.commit(), second.commit);
}

#[test]
fn a_commit_that_does_not_descend_from_the_last_is_refused_unless_the_head_says_so() {
    let first = draft(&[("a.cedar", PERMIT)], None);
    let other = draft(&[("a.cedar", FORBID)], None);
    let mut store = with(&first);

    assert!(matches!(
        feed(&mut store, 2, &other),
        Err(RefusedHead::Content(Refused::NotDescendant { .. }))
    ));
    assert_eq!(store.active().unwrap().snapshot.commit(), first.commit);

    let head = Head {
        reset: true,
        ..head(3, other.commit)
    };
    store
        .handle_head(&head.sign(&key()).unwrap(), now())
        .unwrap();
    offer(&mut store, &other).unwrap();
    assert_eq!(store.active().unwrap().snapshot.commit(), other.commit);
}

#[test]
fn a_descendant_over_several_commits_is_followed() {
    let drafts = chain(5);
    let mut store = with(&drafts[0]);

    store
        .handle_head(&signed(9, drafts[4].commit), now())
        .unwrap();
    while store.active().unwrap().head.sequence != Sequence(9) {
        let missing = fetch(&mut store).missing;
        let found = |oid: &Oid| {
            let mut all = drafts.iter().flat_map(|draft| &draft.objects);
            all.find(|(known, _)| known == oid).unwrap().1.clone()
        };
        store
            .handle_objects(missing.iter().map(found).collect::<Vec<_>>())
            .unwrap();
    }

    assert_eq!(store.log().count(), 5);
}

#[test]
fn an_object_that_was_not_asked_for_or_is_not_what_its_name_says_is_refused() {
    let good = draft(&[("a.cedar", PERMIT)], None);
    let mut store = store();
    assert_eq!(store.handle_objects([vec![0]]), Err(Refused::NothingAsked));

    store.handle_head(&signed(1, good.commit), now()).unwrap();
    let stranger = Object::Blob(Blob {
        datatype: 1,
        metadata: Metadata::default(),
        data: vec![],
    });
    assert!(matches!(
        store.handle_objects([stranger.encode()]),
        Err(Refused::Unasked(_))
    ));

    store.handle_head(&signed(2, good.commit), now()).unwrap();
    let mut changed = good.objects[0].1.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(matches!(
        store.handle_objects([changed]),
        Err(Refused::Unasked(_))
    ));
    store.handle_head(&signed(3, good.commit), now()).unwrap();
    assert_eq!(store.handle_objects([]), Err(Refused::Incomplete(1)));
    assert!(store.active().is_none());
}

#[test]
fn objects_in_the_wrong_place_are_refused() {
    let good = draft(&[("a.cedar", PERMIT)], None);
    let Ok(Object::Commit(commit)) = Object::parse(&good.objects[0].1) else {
        panic!("a commit");
    };
    for (profiles, manifest) in [
        // A commit for a tree: a cycle, if it could be built.
        (vec![(PROFILE.to_owned(), good.commit)], commit.manifest),
        // A tree for a manifest.
        (commit.profiles.clone(), commit.profiles[0].1),
    ] {
        let crooked = Object::Commit(Commit {
            profiles,
            manifest,
            ..commit.clone()
        });
        let crooked = crooked.encode();
        let mut store = store();
        store
            .handle_head(&signed(1, Oid::of(&crooked)), now())
            .unwrap();
        fetch(&mut store);
        store.handle_objects([crooked]).unwrap();
        let refused = offer(&mut store, &good);

        assert!(
            matches!(refused, Err(Refused::WrongKind { .. })),
            "{refused:?}"
        );
        assert!(store.active().is_none());
    }
}

#[test]
fn a_commit_without_our_profile_or_with_one_that_the_manifest_lacks_is_refused() {
    let good = draft(&[("a.cedar", PERMIT)], None);
    let Ok(Object::Commit(commit)) = Object::parse(&good.objects[0].1) else {
        panic!("a commit");
    };
    for (profiles, expected) in [
        (vec![], "ztas_app/"),
        (
            vec![("other/".to_owned(), commit.profiles[0].1)],
            "does not describe",
        ),
    ] {
        let odd = Object::Commit(Commit {
            profiles,
            ..commit.clone()
        });
        let odd = odd.encode();
        let mut objects = good.objects.clone();
        objects[0] = (Oid::of(&odd), odd);
        let odd = Draft {
            commit: objects[0].0,
            objects,
        };
        let mut store = store();
        let refused = feed(&mut store, 1, &odd).unwrap_err();

        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

#[test]
fn a_policy_that_is_refused_is_named_with_file_and_line_and_the_last_commit_stays() {
    let first = draft(&[("a.cedar", PERMIT)], None);
    let broken =
        "\n\n@id(\"x\")\npermit(principal, action, resource) when {\n  principal.shoe == 1\n};";
    let second = draft(
        &[("a.cedar", PERMIT), ("b.cedar", broken)],
        Some(first.commit),
    );
    let mut store = with(&first);

    let refused = feed(&mut store, 2, &second).unwrap_err();

    assert!(refused.to_string().starts_with("b.cedar:5: "), "{refused}");
    assert_eq!(store.active().unwrap().snapshot.commit(), first.commit);
    let third = draft(&[("a.cedar", FORBID)], Some(first.commit));
    feed(&mut store, 3, &third).unwrap();
    assert_eq!(store.active().unwrap().snapshot.commit(), third.commit);
}

#[test]
fn a_file_in_an_unknown_language_is_not_left_out() {
    let blob = Object::Blob(Blob {
        datatype: Blob::SOURCE,
        metadata: Metadata::from([
            (Metadata::CODE_TYPE, Plain::Number(2)),
            (Metadata::LANGUAGE, Plain::Number(77)),
        ]),
        data: b"deny all".to_vec(),
    });
    let draft = with_file(&blob, "x.rego");
    let mut store = store();

    let refused = feed(&mut store, 1, &draft).unwrap_err();

    assert!(refused.to_string().contains("x.rego"), "{refused}");
}

#[test]
fn a_policy_in_permguards_json_form_is_read() {
    let policy: cedar_policy::Policy = PERMIT.parse().unwrap();
    let blob = Object::Blob(Blob {
        datatype: Blob::SYNTAX_TREE,
        metadata: Metadata::from([
            (Metadata::CODE_TYPE, Plain::Number(2)),
            (Metadata::LANGUAGE, Plain::Number(Metadata::CEDAR_JSON)),
        ]),
        data: policy.to_json().unwrap().to_string().into_bytes(),
    });
    let mut store = store();

    feed(&mut store, 1, &with_file(&blob, "p1")).unwrap();

    assert!(store.active().unwrap().snapshot.policy("p").is_some());
}

#[test]
fn what_got_lost_on_its_way_is_asked_for_again_with_the_same_head() {
    let draft = draft(&[("a.cedar", PERMIT)], None);
    let head = signed(7, draft.commit);
    let mut store = store();
    store.handle_head(&head, now()).unwrap();
    let lost = fetch(&mut store);

    store.handle_head(&head, now()).unwrap();

    assert_eq!(fetch(&mut store), lost);
    assert!(store.active().is_none());
}

#[test]
fn a_restored_store_is_verified_and_what_is_torn_is_fetched_again() {
    let draft = draft(&[("a.cedar", PERMIT)], None);
    let head = signed(7, draft.commit);
    let disk: Vec<Vec<u8>> = draft
        .objects
        .iter()
        .map(|(_, bytes)| bytes.clone())
        .collect();

    let mut whole = store();
    whole.restore(&head, disk.clone(), now()).unwrap();
    assert!(whole.active().is_some());
    assert!(matches!(whole.poll(), Some(Effect::Keep { objects, .. }) if objects.is_empty()));

    let mut torn = disk.clone();
    torn[1].pop();
    let mut mended = store();
    mended.restore(&head, torn, now()).unwrap();
    assert!(mended.active().is_none());
    assert_eq!(fetch(&mut mended).missing, [draft.objects[1].0]);
    mended.handle_objects([disk[1].clone()]).unwrap();
    assert!(mended.active().is_some());
}

#[test]
fn a_store_of_the_largest_size_comes_back_with_what_a_crash_left_beside_it() {
    let draft = draft(&[("a.cedar", PERMIT)], None);
    let head = signed(7, draft.commit);
    let others = (0..MAX_OBJECTS).map(|number| {
        let blob = Blob {
            datatype: Blob::SOURCE,
            metadata: Metadata::default(),
            data: number.to_string().into_bytes(),
        };
        Object::Blob(blob).encode()
    });
    let own = draft.objects.iter().map(|(_, bytes)| bytes.clone());

    let mut restored = store();
    restored.restore(&head, others.chain(own), now()).unwrap();

    assert!(restored.active().is_some());
    let packed = restored.pack();
    let mut again = store();
    let objects = pack::read(&packed).map(|object| object.unwrap().to_vec());
    again.restore(&head, objects, now()).unwrap();
    assert!(again.active().is_some());
}

#[test]
fn a_head_on_the_disk_that_expired_still_keeps_older_ones_out() {
    let draft = draft(&[("a.cedar", PERMIT)], None);
    let mut store = store();
    let later = now() + Duration::from_secs(8 * 86_400);

    assert!(matches!(
        store.restore(&signed(7, draft.commit), [], later),
        Err(RefusedHead::Expired { .. })
    ));

    let older = Head {
        issued_at: later,
        expires_at: later + Duration::from_secs(60),
        ..head(6, draft.commit)
    };
    assert!(matches!(
        store.handle_head(&older.sign(&key()).unwrap(), later),
        Err(RefusedHead::Older { .. })
    ));
}

#[test]
fn nothing_is_in_force_when_the_head_has_expired_until_a_next_one_comes() {
    let draft = draft(&[("a.cedar", PERMIT)], None);
    let mut store = with(&draft);
    let end = store.poll_timeout().unwrap();

    store.handle_timeout(end + Duration::from_secs(1));

    assert!(store.active().is_none());
    assert!(matches!(store.poll(), Some(Effect::Deactivate)));
    let next = Head {
        issued_at: end,
        expires_at: end + Duration::from_secs(60),
        ..head(2, draft.commit)
    };
    store.handle_head(&next.sign(&key()).unwrap(), end).unwrap();
    assert!(store.active().is_some());
}

#[test]
fn a_candidate_that_is_refused_does_not_keep_the_active_commit_back() {
    let active = draft(&[("a.cedar", PERMIT)], None);
    let candidate = draft(&[("a.cedar", "permit(principal")], Some(active.commit));
    let head = Head {
        shadow: Some(candidate.commit),
        ..head(1, active.commit)
    };
    let mut store = store();

    store
        .handle_head(&head.sign(&key()).unwrap(), now())
        .unwrap();
    let all = || active.objects.iter().chain(&candidate.objects);
    while store.active().is_none() {
        let missing = fetch(&mut store).missing;
        let found = |oid: &Oid| all().find(|(known, _)| known == oid).unwrap().1.clone();
        store
            .handle_objects(missing.iter().map(found).collect::<Vec<_>>())
            .unwrap();
    }

    let shadow = store.active().unwrap().shadow.as_ref().unwrap();
    assert!(matches!(shadow, Err(Refused::Policy(_))));
}

#[test]
fn more_objects_than_a_transfer_may_have_are_refused_before_they_are_asked_for() {
    let entries = (0..MAX_OBJECTS).map(|number| Entry {
        oid: Oid::of(&number.to_be_bytes()),
        name: number.to_string(),
        datatype: Entry::POLICY,
        metadata: Metadata::default(),
    });
    let tree = Object::Tree(Tree {
        entries: entries.collect(),
        partition: "/".into(),
    });
    let tree = tree.encode();
    let commit = Object::Commit(Commit {
        profiles: vec![(PROFILE.to_owned(), Oid::of(&tree))],
        predecessor: Oid::ZERO,
        author: String::new(),
        authored_at: 0,
        committer: String::new(),
        committed_at: 0,
        message: String::new(),
        manifest: Oid::of(b"manifest"),
    });
    let commit = commit.encode();
    let mut store = store();
    store
        .handle_head(&signed(1, Oid::of(&commit)), now())
        .unwrap();

    assert_eq!(store.handle_objects([commit, tree]), Err(Refused::TooMuch));
}

fn store() -> Store {
    Store::new(PublicKey::of(&key()), "policies".into())
}

fn with(draft: &Draft) -> Store {
    let mut store = store();
    feed(&mut store, 1, draft).unwrap();
    drain(&mut store);
    store
}

/// Follows a head, with whatever of the draft is missing.
fn feed(store: &mut Store, sequence: u64, draft: &Draft) -> Result<(), RefusedHead> {
    store.handle_head(&signed(sequence, draft.commit), now())?;
    Ok(offer(store, draft)?)
}

fn offer(store: &mut Store, draft: &Draft) -> Result<(), Refused> {
    while let Some(effect) = store.poll() {
        if let Effect::Fetch(fetch) = effect {
            let objects = fetch.missing.iter().map(|oid| bytes(draft, oid));
            store.handle_objects(objects.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

fn fetch(store: &mut Store) -> Fetch {
    match store.poll() {
        Some(Effect::Fetch(fetch)) => fetch,
        other => panic!("expected a fetch, found {other:?}"),
    }
}

fn drain(store: &mut Store) -> Vec<Effect> {
    std::iter::from_fn(|| store.poll()).collect()
}

fn bytes(draft: &Draft, oid: &Oid) -> Vec<u8> {
    let found = draft.objects.iter().find(|(known, _)| known == oid);
    found.unwrap().1.clone()
}

fn draft(files: &[(&str, &str)], predecessor: Option<Oid>) -> Draft {
    Draft::of(files.iter().copied(), predecessor, &Signature::default())
}

fn chain(length: usize) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    for number in 0..length {
        let policy = PERMIT.replace("\"p\"", &format!("\"p{number}\""));
        let last = drafts.last().map(|last| last.commit);
        drafts.push(draft(&[("a.cedar", &policy)], last));
    }
    drafts
}

/// A commit whose only file is this blob.
fn with_file(blob: &Object, name: &str) -> Draft {
    let base = draft(&[], None);
    let Ok(Object::Commit(commit)) = Object::parse(&base.objects[0].1) else {
        panic!("a commit");
    };
    let bytes = blob.encode();
    let tree = Object::Tree(Tree {
        entries: vec![Entry {
            oid: Oid::of(&bytes),
            name: name.to_owned(),
            datatype: Entry::POLICY,
            metadata: Metadata::default(),
        }],
        partition: "/".into(),
    });
    let tree = tree.encode();
    let commit = Object::Commit(Commit {
        profiles: vec![(PROFILE.to_owned(), Oid::of(&tree))],
        ..commit
    });
    let commit = commit.encode();
    let mut objects = base.objects.clone();
    objects.extend([&bytes, &tree, &commit].map(|it| (Oid::of(it), it.clone())));
    Draft {
        commit: Oid::of(&commit),
        objects,
    }
}

fn signed(sequence: u64, commit: Oid) -> String {
    head(sequence, commit).sign(&key()).unwrap()
}

fn head(sequence: u64, commit: Oid) -> Head {
    Head {
        ledger: "policies".into(),
        commit,
        sequence: Sequence(sequence),
        issued_at: now(),
        expires_at: now() + Duration::from_secs(7 * 86_400),
        shadow: None,
        reset: false,
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn now() -> WallTime {
    WallTime::from_unix_millis(1_795_312_800_000)
}

const PERMIT: &str = "@id(\"p\")\npermit(principal, action == Action::\"connect\", resource);\n";
const FORBID: &str = "@id(\"f\")\nforbid(principal, action == Action::\"connect\", resource);\n";
