//! Columns that line up, in as much width as there is.

use crate::text::{Screen, Tone, clean, width, wrap};

/// Rows of cells. Columns are as wide as their widest cell; where that is more
/// than there is, the widest columns are narrowed and their cells wrapped between
/// words; where even that does not fit, the cells of a row follow one another.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    indent: usize,
    /// The least width of the first column.
    labels: usize,
}

impl Table {
    /// Returns an empty table that starts `indent` columns from the left.
    pub(crate) fn indented(indent: usize) -> Self {
        Self {
            indent,
            ..Self::default()
        }
    }

    /// Returns an empty table whose first column is at least `labels` wide.
    pub(crate) fn labelled(labels: usize) -> Self {
        Self {
            labels,
            ..Self::default()
        }
    }

    /// Appends a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Appends a row of a dim label and a value.
    pub(crate) fn field(&mut self, label: &str, value: impl AsRef<str>) {
        self.row([Cell::toned(label, Tone::Dim), Cell::new(value)]);
    }

    /// Returns the table as lines that end with a line break.
    pub(crate) fn render(&self, screen: Screen) -> String {
        let Some(widths) = self.widths(screen.width) else {
            let rows = self.rows.iter();
            return rows
                .map(|row| flow(self.indent, row, &[], screen))
                .collect();
        };
        let mut lines = String::new();
        for row in &self.rows {
            let columns: Vec<Vec<String>> = row
                .iter()
                .zip(&widths)
                .map(|(cell, room)| wrap(&cell.text, *room))
                .collect();
            let height = columns.iter().map(Vec::len).max().unwrap_or(0);
            for index in 0..height {
                let mut line = " ".repeat(self.indent);
                // Blanks are written only when something follows them.
                let mut owed = 0;
                for ((cell, column), room) in row.iter().zip(&columns).zip(&widths) {
                    let part = column.get(index).map_or("", String::as_str);
                    if !part.is_empty() {
                        line.push_str(&" ".repeat(owed));
                        line.push_str(&cell.tone.paint(part, screen));
                        owed = 0;
                    }
                    owed += room - width(part).min(*room) + GAP;
                }
                lines.push_str(line.trim_end());
                lines.push('\n');
            }
        }
        lines
    }

    /// Returns the columns' widths, or nothing if they cannot be narrowed enough.
    fn widths(&self, available: usize) -> Option<Vec<usize>> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; count];
        let mut longest_words = vec![0; count];
        if let Some(first) = widths.first_mut() {
            *first = self.labels;
        }
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                widths[column] = width(&cell.text).max(widths[column]);
                // Nothing is moved by what the last column has too much.
                if column + 1 < count {
                    let words = cell.text.split_whitespace().map(width);
                    longest_words[column] = words.fold(longest_words[column], usize::max);
                }
            }
        }

        let gaps = GAP * count.saturating_sub(1) + self.indent;
        let room = available.saturating_sub(gaps);
        while widths.iter().sum::<usize>() > room {
            let (widest, _) = widths
                .iter_mut()
                .zip(&longest_words)
                .filter(|(width, word)| **width > NARROWEST.max(**word))
                .max()?;
            *widest -= 1;
        }
        Some(widths)
    }
}

/// Returns `cells` one after the other, each at least as wide as its stop. What does
/// not fit goes on in another line, a little further to the right than `indent`.
pub(crate) fn flow(indent: usize, cells: &[Cell], stops: &[usize], screen: Screen) -> String {
    let margin = " ".repeat(indent + GAP);
    let room = screen.width.saturating_sub(indent + GAP);
    let mut lines = String::new();
    let mut line = " ".repeat(indent);
    let mut used = indent;
    let mut is_blank = true;
    for (index, cell) in cells.iter().enumerate() {
        let columns = width(&cell.text);
        if columns == 0 {
            if is_blank {
                line.clone_from(&margin);
                used = indent + GAP;
            }
            continue;
        }
        if !is_blank && used + GAP + columns > screen.width {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line.clone_from(&margin);
            used = indent + GAP;
            is_blank = true;
        }
        let gap = if is_blank { 0 } else { GAP };
        let parts = match used + gap + columns <= screen.width {
            true => vec![cell.text.clone()],
            false => wrap(&cell.text, room),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                lines.push_str(line.trim_end());
                lines.push('\n');
                line.clone_from(&margin);
                used = indent + GAP;
            }
            line.push_str(&" ".repeat(gap));
            line.push_str(&cell.tone.paint(part, screen));
            used += gap + width(part);
        }
        let padding = stops
            .get(index)
            .map_or(0, |stop| stop.saturating_sub(columns));
        line.push_str(&" ".repeat(padding));
        used += padding;
        is_blank = false;
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

/// One cell's text and what it means.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Returns a cell in the plain tone.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    /// Returns a cell in `tone`; what could steer the terminal is taken out.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: clean(text.as_ref()),
            tone,
        }
    }
}

const GAP: usize = 2;

/// Narrower columns hold hardly a word.
const NARROWEST: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        assert_eq!(
            example().render(screen(usize::MAX)),
            "  a       a long text that wraps\n  longer\n"
        );
    }

    #[test]
    fn a_narrow_screen_wraps_the_widest_column() {
        assert_eq!(
            example().render(screen(28)),
            "  a       a long text that\n          wraps\n  longer\n"
        );
    }

    #[test]
    fn no_word_and_no_address_is_broken_at_any_width() {
        let mut table = Table::labelled(8);
        table.row(["Application", "Names", "Site"].map(Cell::new));
        table.row(["Company wiki", "app.corp.test, *.dev.app.test", "hq"].map(Cell::new));
        let mut fields = Table::default();
        fields.field("Proxy", "http://127.0.0.1:3128/proxy.pac (PAC)");
        for width in 0..80 {
            let text = table.render(screen(width)) + &fields.render(screen(width));
            let words: Vec<&str> = text.split_whitespace().collect();
            for word in ["Application", "*.dev.app.test", "Company", "hq"] {
                assert!(
                    words.iter().any(|one| one.starts_with(word)),
                    "{word} in {text}"
                );
            }
            assert!(words.contains(&"http://127.0.0.1:3128/proxy.pac"), "{text}");
        }
    }

    #[test]
    fn where_columns_do_not_fit_cells_follow_one_another() {
        let mut table = Table::indented(1);
        table.row(["denied", "Company wiki", "app.corp.test"].map(Cell::new));
        table.row(["", "", "→ Ask Bob about all of this."].map(Cell::new));

        assert_eq!(
            table.render(screen(24)),
            " denied  Company wiki\n   app.corp.test\n   → Ask Bob about all\n   of this.\n"
        );
    }

    #[test]
    fn no_width_is_too_small() {
        for width in 0..40 {
            assert!(example().render(screen(width)).contains("wraps"));
        }
    }

    #[test]
    fn colour_does_not_disturb_the_alignment() {
        let colored = example().render(Screen {
            color: true,
            ..screen(usize::MAX)
        });

        assert_eq!(
            colored,
            "  \x1b[31ma\x1b[0m       a long text that wraps\n  longer\n"
        );
    }

    fn example() -> Table {
        let mut table = Table::indented(2);
        table.row([
            Cell::toned("a", Tone::Bad),
            Cell::new("a long text that wraps"),
        ]);
        table.row([Cell::new("longer"), Cell::new("")]);
        table
    }

    fn screen(width: usize) -> Screen {
        Screen {
            width,
            color: false,
            now: 0,
        }
    }
}
