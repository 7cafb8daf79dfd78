/// Returns the candidate that `text` is most likely a misspelling of, if one is close.
pub(super) fn nearest(
    text: &str,
    candidates: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    candidates
        .map(|candidate| {
            // A right key in the wrong section is nearer than a wrong key in the right one.
            let whole = distance(text, candidate);
            let own = distance(&last(text), &last(candidate)) + 1;
            (whole.min(own), candidate)
        })
        .min()
        .filter(|(distance, _)| *distance <= text.len() / 3 + 1)
        .map(|(_, candidate)| candidate)
}

/// The number of insertions, deletions and replacements between two texts (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, character) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
