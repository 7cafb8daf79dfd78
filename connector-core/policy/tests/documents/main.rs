//! The examples of the policy guide, run.

use std::sync::Arc;

use connector_policy::{author, table};

const GUIDE: &str = include_str!("../../../../docs/policy.md");

#[test]
fn every_example_is_a_policy_and_does_what_its_table_says() {
    let (policies, tables) = (blocks("cedar"), blocks("jsonl"));
    assert!(policies.len() >= 2 && policies.len() == tables.len());

    for (policy, cases) in policies.iter().zip(&tables) {
        let snapshot = author::check([("guide.cedar", &**policy)]).unwrap();
        let cases = table::read(cases).unwrap();
        let report = table::run(&Arc::new(snapshot), &cases);

        assert_eq!(report.unmet, []);
        assert!(report.met >= 4);
    }
}

#[test]
fn a_refusal_reads_as_the_guide_shows_it() {
    let shown = blocks("text").concat();
    let refusals = [
        (
            "wiki.cedar",
            "\n\n@id(\"wiki\") @leese(\"5m\") permit(principal, action, resource);".to_owned(),
        ),
        (
            "payroll.cedar",
            "\n".repeat(9)
                + "@id(\"payroll\") permit(principal, action == Action::\"connect\", resource)\nwhen {\n\
                   context.workload.pth == \"x\" };",
        ),
    ];
    for (file, text) in refusals {
        let refused = author::check([(file, &*text)]).unwrap_err().to_string();
        let first = shown.lines().find(|line| line.starts_with(file)).unwrap();

        assert!(refused.starts_with(first), "{refused}\n{first}");
    }
}

/// Returns the blocks of the guide in a language.
fn blocks(language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let parts = GUIDE.split(&begin).skip(1);
    parts
        .filter_map(|part| part.split("```").next())
        .map(str::to_owned)
        .collect()
}
