//! One printer for all listings: rows of named columns, as a table for people or as bare columns for scripts. What `--format json`
//! shows is each verb's own structure.

use crate::cli::Listing;
use crate::error::{Error, Result};

pub(crate) struct Column {
    /// As the table's head has it; `--format` takes it in lower case, too.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Left,
    Right,
    /// Twelve digits of it are enough, unless `--no-trunc`.
    Id,
    /// Shortened to so many characters, unless `--no-trunc`.
    Cut(usize),
    /// Only where `--format` names it.
    Hidden,
}

pub(crate) const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// What was asked for.
pub(crate) enum Form {
    Json,
    /// The first column alone.
    Quiet {
        whole: bool,
    },
    Table {
        whole: bool,
    },
    /// These columns, a tab between them, no head, nothing shortened.
    Columns(Vec<usize>),
}

/// Reads `--format`, before anything is done.
pub(crate) fn form(verb: &str, typed: &Listing, columns: &[Column]) -> Result<Form> {
    let whole = typed.no_trunc;
    match typed.format.as_deref() {
        _ if typed.quiet => Ok(Form::Quiet { whole }),
        None | Some("table") => Ok(Form::Table { whole }),
        Some("json") => Ok(Form::Json),
        Some(names) => {
            let find = |name: &str| {
                columns.iter().position(|column| column.name.eq_ignore_ascii_case(name.trim())).ok_or_else(|| {
                    let known: Vec<&str> = columns.iter().map(|column| column.name).collect();
                    Error::new(format_args!("nsctl {verb}: --format {names}: there is no column {name}"))
                        .hint(format_args!("it is table, json, or some of {}", known.join(",")))
                })
            };
            names.split(',').map(find).collect::<Result<_>>().map(Form::Columns)
        }
    }
}

impl Form {
    pub(crate) fn is_json(&self) -> bool {
        matches!(self, Form::Json)
    }

    /// All but JSON. Each row has a cell for each of the columns.
    pub(crate) fn text(&self, columns: &[Column], mut rows: Vec<Vec<String>>) -> String {
        let (shown, whole): (Vec<usize>, bool) = match self {
            Form::Json => return String::new(),
            Form::Quiet { whole } => (vec![0], *whole),
            Form::Columns(shown) => (shown.clone(), true),
            Form::Table { whole } => {
                ((0..columns.len()).filter(|at| columns[*at].kind != Kind::Hidden).collect(), *whole)
            }
        };
        for row in &mut rows {
            for (cell, column) in row.iter_mut().zip(columns) {
                *cell = clean(cell, if whole { Kind::Left } else { column.kind });
            }
        }
        if !matches!(self, Form::Table { .. }) {
            let line =
                |row: &Vec<String>| shown.iter().map(|at| row[*at].as_str()).collect::<Vec<_>>().join("\t") + "\n";
            return rows.iter().map(line).collect();
        }
        rows.insert(0, columns.iter().map(|column| column.name.to_string()).collect());
        aligned(columns, &shown, &rows)
    }
}

fn aligned(columns: &[Column], shown: &[usize], rows: &[Vec<String>]) -> String {
    let width = |at: &usize| rows.iter().map(|row| row[*at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = shown.iter().map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut gap = 0;
        for (at, width) in shown.iter().zip(&widths) {
            let cell = if row[*at].is_empty() { "-" } else { &row[*at] };
            let pad = width.saturating_sub(cell.chars().count());
            let (before, after) = if columns[*at].kind == Kind::Right { (pad, 0) } else { (0, pad) };
            text.extend(std::iter::repeat_n(' ', gap + before));
            text += cell;
            // Nothing is put behind the last one.
            gap = after + 2;
        }
        text.push('\n');
    }
    text
}

/// A name or a command may hold anything, also what would move the cursor of a terminal.
fn clean(cell: &str, kind: Kind) -> String {
    let mut clean: String = cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match kind {
        Kind::Id => clean = clean.chars().take(12).collect(),
        Kind::Cut(most) => {
            if let Some((at, _)) = clean.char_indices().nth(most - 1)
                && clean.chars().nth(most).is_some()
            {
                clean.truncate(at);
                clean.push('…');
            }
        }
        Kind::Left | Kind::Right | Kind::Hidden => {}
    }
    clean
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(text: &str) {
    let columns = [column("ID", Kind::Id), column("NAME", Kind::Right), column("COMMAND", Kind::Cut(4))];
    let typed = Listing { format: Some(text.into()), ..Listing::default() };
    for form in [form("ls", &typed, &columns), form("ls", &Listing::default(), &columns)].into_iter().flatten() {
        let _ = form.text(&columns, vec![[text; 3].map(String::from).to_vec()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        column("ID", Kind::Id),
        column("SIZE", Kind::Right),
        column("WHEN", Kind::Hidden),
        column("COMMAND", Kind::Cut(4)),
    ];

    fn shown(listing: &Listing) -> String {
        let rows = [["0123456789abcdef", "1", "now", "a\x1b[2Jb\n"], ["ab", "12345", "", "four"]];
        let rows = rows.map(|row| row.map(String::from).to_vec()).to_vec();
        form("ls", listing, COLUMNS).unwrap().text(COLUMNS, rows)
    }

    fn formatted(format: &str) -> Listing {
        Listing { format: Some(format.into()), ..Listing::default() }
    }

    #[test]
    fn a_table_is_aligned_and_cannot_move_the_cursor() {
        let text = shown(&Listing::default());
        assert_eq!(text, "ID             SIZE  COMMAND\n0123456789ab      1  a?[…\nab            12345  four\n");
        let whole = shown(&Listing { no_trunc: true, ..formatted("table") });
        assert!(whole.ends_with("\n0123456789abcdef      1  a?[2Jb?\nab                12345  four\n"), "{whole}");
    }

    #[test]
    fn columns_are_named_in_any_case() {
        assert_eq!(shown(&formatted("when,Id")), "now\t0123456789abcdef\n\tab\n");
        assert_eq!(shown(&Listing { quiet: true, ..Listing::default() }), "0123456789ab\nab\n");
        assert!(form("ls", &formatted("json"), COLUMNS).unwrap().is_json());
        let refused = form("ls", &formatted("id,age"), COLUMNS).err().unwrap().to_string();
        let said =
            "nsctl ls: --format id,age: there is no column age (it is table, json, or some of ID,SIZE,WHEN,COMMAND)";
        assert_eq!(refused, said);
    }
}
