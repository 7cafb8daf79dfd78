//! Just enough of Rust's lexical structure to tell code from comments and literals.

/// The source with every comment and every literal's content blanked out; lines stay where they are.
pub(crate) fn code_of(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    while let Some(first) = rest.chars().next() {
        let literal = match first {
            '/' => comment_length(rest),
            '"' => Some(string_length(rest)),
            '\'' => char_length(rest),
            'b' | 'c' | 'r' if !ends_in_word(&code) => prefixed_string_length(rest),
            _ => None,
        };
        let taken = literal.unwrap_or_else(|| first.len_utf8());
        let (token, after) = rest.split_at(taken);
        match literal {
            Some(_) => code.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            None => code.push(first),
        }
        rest = after;
    }
    code
}

/// The line numbers, from 1, on which `word` stands by itself.
pub(crate) fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| {
            line.split(|c| !is_word(c))
                .any(|candidate| candidate == word)
        })
        .map(|(index, _)| index + 1)
        .collect()
}

/// The line numbers, from 1, on which a `cfg`-like attribute or macro asks about the platform.
pub(crate) fn lines_with_platform_cfg(code: &str) -> Vec<usize> {
    const OPENERS: [&str; 5] = ["cfg(", "cfg!(", "cfg_attr(", "cfg_select!", "cfg_if!"];
    const PLATFORM: [&str; 6] = [
        "target_os",
        "target_family",
        "target_vendor",
        "target_env",
        "unix",
        "windows",
    ];
    let mut lines = Vec::new();
    for opener in OPENERS {
        for (at, _) in code.match_indices(opener) {
            if ends_in_word(&code[..at]) {
                continue;
            }
            let condition = parenthesised(&code[at + opener.trim_end_matches('(').len()..]);
            if PLATFORM
                .iter()
                .any(|word| !lines_with_word(condition, word).is_empty())
            {
                lines.push(code[..at].matches('\n').count() + 1);
            }
        }
    }
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// The text up to the bracket that closes the first one.
fn parenthesised(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' if depth <= 1 => return &text[..at],
            ')' | '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

fn comment_length(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    Some(text.len())
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `b"…"`, `c"…"`, `r"…"`, `r#"…"#`, `br#"…"#`, `cr"…"`.
fn prefixed_string_length(text: &str) -> Option<usize> {
    let prefix = text.len() - text.trim_start_matches(['b', 'c']).len();
    if prefix > 1 {
        return None;
    }
    let text = &text[prefix..];
    if text.starts_with('"') {
        return Some(prefix + string_length(text));
    }
    let raw = text.strip_prefix('r')?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let content = raw[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = content
        .find(&end)
        .map_or(content.len(), |at| at + end.len());
    Some(prefix + 1 + hashes + 1 + length)
}

/// The length of a character literal; `None` for a lifetime.
fn char_length(text: &str) -> Option<usize> {
    let content = text.strip_prefix('\'')?;
    if let Some(escape) = content.strip_prefix('\\') {
        let skipped = escape.chars().next()?.len_utf8();
        return escape[skipped..].find('\'').map(|at| 2 + skipped + at + 1);
    }
    let length = content.chars().next()?.len_utf8();
    content[length..].starts_with('\'').then_some(length + 2)
}

fn ends_in_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let source = "a // unsafe\n/* unsafe /* unsafe */ */ b \"unsafe \\\" unsafe\" r#\"unsafe \" unsafe\"# b'\\'' 'u' c";

        let code = code_of(source);

        assert!(lines_with_word(&code, "unsafe").is_empty(), "{code}");
        assert_eq!(
            code.split_whitespace().collect::<Vec<_>>(),
            ["a", "b", "b", "c"]
        );
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn lifetimes_and_names_that_begin_like_strings_are_code() {
        let code = code_of("fn f<'a>(b: &'a str, r: char, car: &'static str) -> char { '\"' }");

        assert!(
            code.contains("<'a>(b: &'a str, r: char, car: &'static str)"),
            "{code}"
        );
    }

    #[test]
    fn words_are_found_whole_and_on_their_line() {
        assert_eq!(lines_with_word("unsafe_code\nx unsafe{}\n", "unsafe"), [2]);
    }

    #[test]
    fn every_spelling_of_a_platform_condition_is_found() {
        let code = code_of(
            "#[cfg(windows)]\n#[cfg(all(test,\n  target_os = \"linux\"))]\nif cfg!(unix) {}\n#[cfg_attr(unix, x)]\ncfg_select! { windows => {} }\n",
        );

        assert_eq!(lines_with_platform_cfg(&code), [1, 2, 4, 5, 6]);
    }

    #[test]
    fn other_conditions_are_not_platform_conditions() {
        let code =
            code_of("#[cfg(test)]\nfn windows() {}\n#[cfg(feature = \"windows\")]\nfn unix() {}\n");

        assert!(lines_with_platform_cfg(&code).is_empty());
    }
}
