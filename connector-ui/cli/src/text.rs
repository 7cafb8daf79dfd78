//! Words for people: safe, wrapped, in human units.

/// What rendering depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// The columns there are; [`usize::MAX`] where nothing is to be wrapped.
    pub(crate) width: usize,
    /// Whether colour is welcome.
    pub(crate) color: bool,
    /// The wall clock, in seconds since 1970.
    pub(crate) now: i64,
}

/// What a piece of text means; colour adds to words and shapes, never replaces them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Bad,
    Dim,
    Good,
    Plain,
    Strong,
    Warning,
}

impl Tone {
    /// Returns `text` in this tone.
    pub(crate) fn paint(self, text: &str, screen: Screen) -> String {
        let code = match self {
            Self::Bad => "31",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Plain => return text.into(),
            Self::Strong => "1",
            Self::Warning => "33",
        };
        if !screen.color || text.is_empty() {
            return text.into();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Returns `text` without what could move the cursor, change colours or reverse
/// the reading direction; line breaks become spaces.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            char if char.is_whitespace() => ' ',
            char if char.is_control() => char::REPLACEMENT_CHARACTER,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                char::REPLACEMENT_CHARACTER
            }
            char => char,
        })
        .collect()
}

/// Returns `text` as lines that end with a line break, all but the first
/// indented like what follows `lead`.
pub(crate) fn paragraph(lead: &str, text: &str, screen: Screen) -> String {
    let margin = " ".repeat(width(lead));
    let room = screen.width.saturating_sub(width(lead)).max(NARROWEST);
    let mut lines = String::new();
    for (index, line) in wrap(&clean(text), room).iter().enumerate() {
        lines.push_str(if index == 0 { lead } else { &margin });
        lines.push_str(line);
        lines.push('\n');
    }
    lines
}

/// Breaks `text` between words into lines of at most `room` columns. A longer word
/// has a line for itself, so that an address can still be copied.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let columns = width(word);
        if used > 0 && used + 1 + columns > room {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += columns;
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Returns the columns that `text` takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Returns the columns that `char` takes: none for combining marks, two for the
/// wide scripts and pictures.
fn char_width(char: char) -> usize {
    match char {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// Returns an amount of data as in `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if count >> shift > 0 {
            let tenths = (u128::from(count) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} B")
}

/// Returns a short time as in `1.3 ms`.
pub(crate) fn micros(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} µs"),
        1_000..1_000_000 => format!("{}.{} ms", count / 1_000, count / 100 % 10),
        _ => format!("{}.{} s", count / 1_000_000, count / 100_000 % 10),
    }
}

/// Returns a long time as in `7 h 59 min`.
pub(crate) fn seconds(count: u64) -> String {
    let (days, hours, minutes) = (count / 86_400, count / 3_600 % 24, count / 60 % 60);
    match count {
        0..60 => format!("{count} s"),
        60..3_600 => format!("{minutes} min"),
        3_600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Returns `1 check`, `2 checks`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// Below this many columns nothing is legible; the terminal may break the lines then.
pub(crate) const NARROWEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(
            clean("a\x1b[2Jb\u{9b}1mc\u{202e}d\r\ne\0"),
            "a\u{fffd}[2Jb\u{fffd}1mc\u{fffd}d  e\u{fffd}"
        );
    }

    #[test]
    fn lines_break_between_words_and_never_inside_one() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a abcdefgh ij", 3), ["a", "abcdefgh", "ij"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("日本 語", 4), ["日本", "語"]);
        assert_eq!(wrap("a b", usize::MAX), ["a b"]);
    }

    #[test]
    fn a_paragraph_hangs_below_its_lead() {
        let screen = Screen {
            width: 20,
            color: false,
            now: 0,
        };

        assert_eq!(
            paragraph("  → ", "Turn on the firewall now.", screen),
            "  → Turn on the\n    firewall now.\n"
        );
    }

    #[test]
    fn units_are_human() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
        assert_eq!(micros(850), "850 µs");
        assert_eq!(micros(1_290), "1.2 ms");
        assert_eq!(micros(2_000_000), "2.0 s");
        assert_eq!(seconds(59), "59 s");
        assert_eq!(seconds(28_799), "7 h 59 min");
        assert_eq!(seconds(90_000), "1 d 1 h");
        assert_eq!(plural(1, "check"), "1 check");
        assert_eq!(plural(0, "check"), "0 checks");
    }
}
