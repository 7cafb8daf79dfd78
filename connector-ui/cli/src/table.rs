//! Columns that line up, in as much width as there is.

use crate::text::{Screen, Tone, clean, width, wrap};

/// Rows of cells. Columns are as wide as their widest cell; where that is more
/// than there is, the widest columns are narrowed and their cells wrapped.
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
        let widths = self.widths(screen.width);
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

    fn widths(&self, available: usize) -> Vec<usize> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; count];
        if let Some(first) = widths.first_mut() {
            *first = self.labels;
        }
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                widths[column] = width(&cell.text).max(widths[column]);
            }
        }

        let gaps = GAP * count.saturating_sub(1) + self.indent;
        let room = available.saturating_sub(gaps);
        while widths.iter().sum::<usize>() > room {
            let Some(widest) = widths.iter_mut().max() else {
                break;
            };
            if *widest <= NARROWEST {
                break;
            }
            *widest -= 1;
        }
        widths
    }
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

/// Narrower columns break every word; the terminal may break the lines then.
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
