use super::*;

#[test]
fn every_policy_of_a_file_is_read_with_its_line() {
    let text = "// Wiki\n@id(\"a\")\npermit(principal, action, resource);\n\n@id(\"b\") @lease(\"5m\") @offline(\"2h\")\npermit(principal, action, resource);";

    let policies = read_one("wiki.cedar", text.as_bytes()).unwrap();

    let found: Vec<String> = policies
        .iter()
        .map(|policy| format!("{} {}", policy.id, policy.place))
        .collect();
    assert_eq!(found, ["a wiki.cedar:2", "b wiki.cedar:5"]);
    assert_eq!(policies[1].annotations.lease.unwrap().as_secs(), 300);
    assert_eq!(policies[1].annotations.offline.unwrap().as_secs(), 7200);
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    for (text, expected) in [
        (
            "\n\n@id(\"a\") permit(principal, action)",
            "f.cedar:3: the policy is not Cedar",
        ),
        (
            "@id(\"a\")\npermit(principal, action, resource)\nwhen { principal.shoe == 1 };",
            "f.cedar:3: the policy does not fit the schema",
        ),
        (
            "@id(\"a\")\npermit(principal, action == Action::\"fly\", resource);",
            "does not fit the schema",
        ),
        (
            "@id(\"a\")\npermit(principal, action == Action::\"connect\", resource)\nwhen {\n  context.protocol == Protocol::\"tpc\" };",
            "f.cedar:4: the policy does not fit",
        ),
        (
            "@id(\"a\")\npermit(principal, action == Action::\"connect\", resource)\nwhen { context.workload.path == \"/x\" };",
            "f.cedar:3: the policy does not fit",
        ),
        (
            "@id(\"a\")\nforbid(principal, action == Action::\"connect\", resource)\nwhen { context.workload has pth && context.workload.pth == \"/x\" };",
            "does not fit the schema",
        ),
        (
            "permit(principal, action, resource);",
            "f.cedar:1: the policy has no @id",
        ),
        (
            "@id(\"\") permit(principal, action, resource);",
            "@id has to have",
        ),
        (
            "@id(\"a\") @leese(\"1s\") permit(principal, action, resource);",
            "@leese is not known",
        ),
        (
            "@id(\"a\") @lease(\"5 m\") permit(principal, action, resource);",
            "is no duration",
        ),
        (
            "@id(\"a\") @lease(\"+5m\") permit(principal, action, resource);",
            "is no duration",
        ),
        (
            "@id(\"a\") @lease(\"0s\") permit(principal, action, resource);",
            "is no duration",
        ),
        (
            "@id(\"a\") @lease(\"2d\") permit(principal, action, resource);",
            "is no duration",
        ),
        (
            "@id(\"a\") @lease(\"m\u{e9}\") permit(principal, action, resource);",
            "is no duration",
        ),
        (
            "@id(\"a\") @lease(\"1m\") forbid(principal, action, resource);",
            "belong to permit",
        ),
        (
            "@id(\"a\") permit(principal, action, resource) when { context.time > context.time };",
            "uses context.time other than",
        ),
        (
            "@id(\"a\") permit(principal == ?principal, action, resource);",
            "f.cedar:1: the policy is a template",
        ),
    ] {
        let refused = read_one("f.cedar", text.as_bytes())
            .unwrap_err()
            .to_string();

        assert!(refused.contains(expected), "{text}\n{refused}");
    }
}

#[test]
fn a_text_that_is_not_utf_8_is_refused_at_its_line() {
    let refused = read_one("f.cedar", b"// a\n\xff").unwrap_err();

    assert_eq!(refused.to_string(), "f.cedar:2: the text is not UTF-8");
}

#[test]
fn an_empty_file_has_no_policies() {
    for text in ["", "\n", "// only a comment\n"] {
        assert!(read_one("f.cedar", text.as_bytes()).unwrap().is_empty());
    }
}

#[test]
fn what_would_take_a_parser_too_deep_is_refused_before_it_is_parsed() {
    for text in [
        format!(
            "@id(\"a\") permit(principal, action, resource) when {{ {}1",
            "(".repeat(5000)
        ),
        format!(
            "@id(\"a\") permit(principal, action, resource) when {{ 1{} == 1 }};",
            "+1".repeat(5000)
        ),
        format!(
            "@id(\"{}\") permit(principal, action, resource);",
            "x".repeat(20_000)
        ),
    ] {
        let refused = read_one("f.cedar", text.as_bytes()).unwrap_err();

        assert!(
            matches!(
                refused.problem,
                Problem::TooComplex(_) | Problem::TooDeep(_) | Problem::TooLong(_)
            ),
            "{refused}"
        );
    }
}

#[test]
fn what_is_as_complex_as_it_may_be_is_read_on_a_small_stack() {
    let chain = |link: &str| link.repeat(source::MAX_OPERATORS / 2 - 20);
    for (open, close, levels) in [
        ("1+", "", source::MAX_OPERATORS - 20),
        ("true&&", "", source::MAX_OPERATORS / 2 - 20),
        ("a.b.", "", source::MAX_OPERATORS / 2 - 20),
        ("(", ")", source::MAX_NESTING - 1),
        ("[", "]", source::MAX_NESTING - 1),
        ("{a:", "}", source::MAX_NESTING - 1),
        ("if true then 1 else ", "", source::MAX_NESTING - 1),
        ("!", "", 30),
    ] {
        let text = format!(
            "@id(\"a\") permit(principal, action, resource) when {{ {}{}true{} == 1 }};",
            open.repeat(levels),
            chain("1+"),
            close.repeat(levels)
        );
        let text = if levels > source::MAX_NESTING {
            text.replace(&chain("1+"), "")
        } else {
            text
        };
        let small = std::thread::Builder::new().stack_size(STACK);
        let reader = small.spawn(move || read_one("f.cedar", text.as_bytes()).map(drop));

        // Whether it fits the schema is another matter.
        let read = reader.unwrap().join().unwrap();
        let bounded = |refused: &InvalidPolicy| {
            matches!(refused.problem, Problem::Schema(_) | Problem::Syntax(_))
        };
        assert!(read.as_ref().err().is_none_or(bounded), "{open}: {read:?}");
    }
}

#[test]
fn a_refusal_in_the_middle_of_many_files_names_its_file_and_line() {
    let good = |number: usize| format!("\n@id(\"{number}\") permit(principal, action, resource);");
    let mut texts: Vec<String> = (0..200).map(good).collect();
    let names: Vec<String> = (0..200).map(|number| format!("{number}.cedar")).collect();
    let read = |texts: &[String]| {
        let files = names.iter().zip(texts);
        let files: Vec<(&str, &[u8])> = files
            .map(|(name, text)| (&**name, text.as_bytes()))
            .collect();
        read_sources(&files)
    };

    let policies = read(&texts).unwrap();
    assert!(policies.iter().enumerate().all(|(number, file)| {
        file.len() == 1 && *file[0].id == *number.to_string() && file[0].place.line == 2
    }));

    texts[150] += "\n@id(\"x\") permit(principal, action, resource)\nwhen { principal.shoe };";
    assert_eq!(read(&texts).unwrap_err().place.to_string(), "150.cedar:4");
    texts[140] += "\n\n@id(\"y\") permit(principal, action resource);";
    assert_eq!(read(&texts).unwrap_err().place.to_string(), "140.cedar:4");
}

fn read_one(file: &str, text: &[u8]) -> Result<Vec<Policy>, InvalidPolicy> {
    Ok(read_sources(&[(file, text)])?
        .into_iter()
        .flatten()
        .collect())
}
