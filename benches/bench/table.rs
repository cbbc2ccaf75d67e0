//! A table as plain text or as Markdown.

use std::fmt::Write;

pub(crate) struct Table {
    title: String,
    headers: Vec<&'static str>,
    /// Columns of words; all others hold figures and are aligned to the right.
    left: Vec<usize>,
    rows: Vec<Row>,
    notes: Vec<String>,
}

enum Row {
    Cells(Vec<String>),
    /// A contender without figures, and the reason.
    Out(String, String),
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, headers: &[&'static str]) -> Table {
        Table { title: title.into(), headers: headers.to_vec(), left: vec![0], rows: Vec::new(), notes: Vec::new() }
    }

    /// Further columns of words, besides the first.
    pub(crate) fn left(mut self, columns: &[usize]) -> Table {
        self.left.extend(columns);
        self
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.headers.len(), "in table {}", self.title);
        self.rows.push(Row::Cells(cells));
    }

    pub(crate) fn out(&mut self, name: &str, why: &str) {
        self.rows.push(Row::Out(name.into(), why.into()));
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(crate) fn render(&self, markdown: bool) -> String {
        if markdown { self.markdown() } else { self.plain() }
    }

    fn plain(&self) -> String {
        let mut text = format!("\n{}\n", self.title);
        let widths = self.widths();
        self.plain_row(&mut text, &self.headers, &widths);
        for row in &self.rows {
            match row {
                Row::Cells(cells) => self.plain_row(&mut text, cells, &widths),
                Row::Out(name, why) => {
                    let width = widths[0];
                    let _ = writeln!(text, "  {name:<width$}  {why}");
                }
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "  * {note}");
        }
        text
    }

    fn plain_row<S: AsRef<str>>(&self, text: &mut String, cells: &[S], widths: &[usize]) {
        for (i, (cell, &width)) in cells.iter().zip(widths).enumerate() {
            let cell = cell.as_ref();
            let _ = match self.left.contains(&i) {
                true => write!(text, "  {cell:<width$}"),
                false => write!(text, "  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headers.iter().map(|h| h.chars().count()).collect();
        for row in &self.rows {
            match row {
                Row::Cells(cells) => {
                    for (width, cell) in widths.iter_mut().zip(cells) {
                        *width = (*width).max(cell.chars().count());
                    }
                }
                Row::Out(name, _) => widths[0] = widths[0].max(name.chars().count()),
            }
        }
        widths
    }

    fn markdown(&self) -> String {
        let mut text = format!("\n### {}\n\n| {} |\n", self.title, self.headers.join(" | "));
        let rules = (0..self.headers.len()).map(|i| if self.left.contains(&i) { "---|" } else { "--:|" });
        let _ = writeln!(text, "|{}", rules.collect::<String>());
        for row in &self.rows {
            let _ = match row {
                Row::Cells(cells) => writeln!(text, "| {} |", cells.join(" | ")),
                Row::Out(name, why) => {
                    writeln!(text, "| {name} | {} |{}", why.replace('|', "\\|"), " |".repeat(self.headers.len() - 2))
                }
            };
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }
}

/// 1234567.8 → "1,234,568".
pub(crate) fn thousands(n: f64) -> String {
    let digits = format!("{:.0}", n.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if n <= -0.5 { format!("-{text}") } else { text }
}
