//! Cuts a file into policies, before a parser sees any of it.

use super::Problem;

/// One policy's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// From its first word to its semicolon.
    pub(super) text: &'a str,
    /// On which line of the file it begins, counted from 1.
    pub(super) line: usize,
    operators: usize,
    nesting: usize,
}

impl Piece<'_> {
    /// Refuses what would take parsers and evaluators too deep or too long.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.text.len() > MAX_POLICY {
            return Err(Problem::TooLong(self.text.len()));
        }
        if self.operators > MAX_OPERATORS {
            return Err(Problem::TooComplex(self.operators));
        }
        if self.nesting > MAX_NESTING {
            return Err(Problem::TooDeep(self.nesting));
        }
        Ok(())
    }
}

/// Returns the policies of a file; what follows the last semicolon is one too.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut start = None;
    let (mut line, mut counted) = (1, 0);
    let mut shape = Shape::default();
    for (at, byte) in code(text) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'"' => {}
            b';' => {
                let from = start.take().unwrap_or(at);
                line += newlines(&text[counted..from]);
                counted = from;
                let Shape {
                    operators, nesting, ..
                } = std::mem::take(&mut shape);
                pieces.push(Piece {
                    text: &text[from..=at],
                    line,
                    operators,
                    nesting,
                });
                continue;
            }
            _ => shape.see(&text.as_bytes()[at..]),
        }
        start.get_or_insert(at);
    }
    if let Some(from) = start {
        line += newlines(&text[counted..from]);
        pieces.push(Piece {
            text: &text[from..],
            line,
            operators: shape.operators,
            nesting: shape.nesting,
        });
    }
    pieces
}

/// Returns a policy's conditions: they begin at its first brace, since what stands before
/// them has none outside of texts and comments.
pub(super) fn conditions(text: &str) -> &str {
    let brace = code(text).find(|(_, byte)| *byte == b'{');
    brace.map_or("", |(at, _)| &text[at..])
}

/// Returns the bytes that are in no comment, each with its offset; of a text, its first quote.
fn code(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut bytes = text.bytes().enumerate().peekable();
    std::iter::from_fn(move || {
        loop {
            let (at, byte) = bytes.next()?;
            if byte == b'/' && bytes.peek().is_some_and(|(_, next)| *next == b'/') {
                while bytes.next_if(|(_, next)| *next != b'\n').is_some() {}
                continue;
            }
            if byte == b'"' {
                while let Some((_, inside)) = bytes.next() {
                    match inside {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            return Some((at, byte));
        }
    })
}

/// How complex a policy is, as far as it was seen.
#[derive(Debug, Default)]
struct Shape {
    operators: usize,
    open: usize,
    nesting: usize,
}

impl Shape {
    fn see(&mut self, rest: &[u8]) {
        match rest {
            [b'(' | b'[' | b'{', ..] => {
                self.open += 1;
                self.nesting = self.nesting.max(self.open);
            }
            [b')' | b']' | b'}', ..] => self.open = self.open.saturating_sub(1),
            // A condition within a condition has no bracket, and is not closed.
            [b't', b'h', b'e', b'n', ..] => {
                self.open += 1;
                self.nesting = self.nesting.max(self.open);
            }
            [
                b'.' | b'&' | b'|' | b'+' | b'-' | b'*' | b'<' | b'>' | b'=' | b'!',
                ..,
            ] => {
                self.operators += 1;
            }
            _ => {}
        }
    }
}

/// Returns the line of an offset, counted from 1.
pub(super) fn line(text: &[u8], offset: usize) -> usize {
    let before = &text[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Long enough for a list of some hundred names.
pub(super) const MAX_POLICY: usize = 16 * 1024;

/// Each may be a level of depth, on which parsers and evaluators recurse.
pub(super) const MAX_OPERATORS: usize = 400;

/// Brackets take Cedar's parser some 10 KiB of stack each.
pub(super) const MAX_NESTING: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_texts_and_comments_end_no_policy() {
        let text = "// first; one\na \"x;\\\";\" b; // second;\n\nc;\n  d // e;";

        let found = pieces(text);

        let texts: Vec<&str> = found.iter().map(|piece| piece.text).collect();
        assert_eq!(texts, ["a \"x;\\\";\" b;", "c;", "d // e;"]);
        let lines: Vec<usize> = found.iter().map(|piece| piece.line).collect();
        assert_eq!(lines, [2, 4, 5]);
    }

    #[test]
    fn conditions_begin_at_the_first_brace_that_is_in_no_text_or_comment() {
        for (text, expected) in [
            (
                "@id(\"a{\\\"{\") permit(p, a, r) // {\n when { x };",
                "{ x };",
            ),
            (
                "permit(p, a, r) unless { x } when { y };",
                "{ x } when { y };",
            ),
            ("permit(p, a, r);", ""),
        ] {
            assert_eq!(conditions(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused_and_what_is_in_texts_is_not_counted() {
        let long = format!("\"{}\";", "x".repeat(MAX_POLICY));
        assert!(matches!(pieces(&long)[0].check(), Err(Problem::TooLong(_))));

        let many = "+".repeat(MAX_OPERATORS + 1);
        assert!(matches!(
            pieces(&many)[0].check(),
            Err(Problem::TooComplex(_))
        ));
        for opener in ["(", "[", "{", "if true then 1 else "] {
            let deep = opener.repeat(MAX_NESTING + 1);
            assert!(matches!(pieces(&deep)[0].check(), Err(Problem::TooDeep(_))));
        }
        let wide = "()".repeat(MAX_NESTING + 1);
        assert_eq!(pieces(&wide)[0].check(), Ok(()));

        let quoted = format!("\"{}\";", "(".repeat(MAX_OPERATORS + 1));
        assert_eq!(pieces(&quoted)[0].check(), Ok(()));
    }
}
