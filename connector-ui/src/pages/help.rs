use super::Block;
use crate::texts::Texts;

/// What people ask, and where to read on; it is there without the service, too.
pub(super) fn blocks(texts: &Texts) -> Vec<Block> {
    let questions = QUESTIONS.into_iter().flat_map(|(question, answer)| {
        [
            Block::Heading(texts.say(question)),
            Block::Text(texts.say(answer)),
        ]
    });
    questions.collect()
}

/// The keys of each question and its answer.
const QUESTIONS: [(&str, &str); 9] = [
    ("guide-what", "guide-what-answer"),
    ("guide-sign-in", "guide-sign-in-answer"),
    ("guide-refused", "guide-refused-answer"),
    ("guide-device", "guide-device-answer"),
    ("guide-off", "guide-off-answer"),
    ("guide-away", "guide-away-answer"),
    ("guide-wrong", "guide-wrong-answer"),
    ("guide-recorded", "guide-recorded-answer"),
    ("documentation", "documentation-where"),
];
