//! Tables: no frames, two spaces between columns, one line per item, numbers to the right.

use std::{cmp::Ordering, fmt::Write};

use super::outcome::{CliError, MISCONFIGURED};

/// Spaces between two columns.
const GAP: usize = 2;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// Aligned to the right, for numbers.
    right: bool,
    /// Only in the wide form.
    wide: bool,
}

impl Column {
    pub(super) const fn text(name: &'static str) -> Self {
        Self {
            name,
            right: false,
            wide: false,
        }
    }

    pub(super) const fn number(name: &'static str) -> Self {
        Self {
            name,
            right: true,
            wide: false,
        }
    }

    pub(super) const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }
}

/// What a cell says, and the number by which it is sorted if it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    number: Option<f64>,
}

impl Cell {
    pub(super) fn number(text: impl Into<String>, number: f64) -> Self {
        Self {
            text: text.into(),
            number: Some(number),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            number: None,
        }
    }
}

/// How a table is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct TableView {
    /// These columns in this order; all by default.
    pub(super) columns: Vec<String>,
    pub(super) no_header: bool,
    /// By this column, downwards with a `-` before it.
    pub(super) sort: Option<String>,
    /// The columns of the wide form too.
    pub(super) wide: bool,
    /// Cut lines to this width; a pipe has none.
    pub(super) width: Option<usize>,
    /// Colours for words of status.
    pub(super) colour: bool,
}

/// Lists the rows.
///
/// # Errors
/// `--columns` or `--sort` names a column that the table does not have.
pub(super) fn table(
    columns: &[Column],
    mut rows: Vec<Vec<Cell>>,
    view: &TableView,
) -> Result<String, CliError> {
    if let Some(sort) = &view.sort {
        let (name, down) = match sort.strip_prefix('-') {
            Some(name) => (name, true),
            None => (&**sort, false),
        };
        let by = position(columns, name, "--sort")?;
        rows.sort_by(|a, b| {
            let order = order(&a[by], &b[by]);
            if down { order.reverse() } else { order }
        });
    }
    let chosen: Vec<usize> = match view.columns.is_empty() {
        true => (0..columns.len())
            .filter(|&column| view.wide || !columns[column].wide)
            .collect(),
        false => {
            let names = view.columns.iter();
            names
                .map(|name| position(columns, name, "--columns"))
                .collect::<Result<_, _>>()?
        }
    };
    Ok(lines(columns, &rows, &chosen, view))
}

fn position(columns: &[Column], name: &str, argument: &str) -> Result<usize, CliError> {
    let found = columns
        .iter()
        .position(|column| column.name.eq_ignore_ascii_case(name.trim()));
    found.ok_or_else(|| {
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        let names = names.join(", ").to_lowercase();
        CliError::new(
            MISCONFIGURED,
            format!("{argument}: there is no column \"{name}\"; there are {names}"),
        )
    })
}

fn lines(columns: &[Column], rows: &[Vec<Cell>], chosen: &[usize], view: &TableView) -> String {
    let width = |column: usize| {
        let head = if view.no_header {
            0
        } else {
            columns[column].name.len()
        };
        let cells = rows.iter().map(|row| row[column].text.chars().count());
        cells.fold(head, usize::max)
    };
    let widths: Vec<usize> = chosen.iter().map(|&column| width(column)).collect();
    let mut out = String::new();
    if !view.no_header {
        let head: Vec<_> = chosen.iter().map(|&column| columns[column].name).collect();
        line(&mut out, columns, chosen, &widths, &head, view);
    }
    for row in rows {
        let cells: Vec<_> = chosen.iter().map(|&column| &*row[column].text).collect();
        line(&mut out, columns, chosen, &widths, &cells, view);
    }
    out
}

fn line(
    out: &mut String,
    columns: &[Column],
    chosen: &[usize],
    widths: &[usize],
    cells: &[&str],
    view: &TableView,
) {
    let mut left = view.width.unwrap_or(usize::MAX);
    for (at, (&column, cell)) in chosen.iter().zip(cells).enumerate() {
        let last = at + 1 == chosen.len();
        let shown = cut(cell, left);
        let padding = widths[at].saturating_sub(shown.chars().count());
        let padding = padding.min(left.saturating_sub(shown.chars().count()));
        if columns[column].right {
            out.extend(std::iter::repeat_n(' ', padding));
        }
        coloured(out, &shown, view.colour);
        if !last && !columns[column].right {
            out.extend(std::iter::repeat_n(' ', padding));
        }
        left = left.saturating_sub(widths[at] + GAP);
        if last || left == 0 {
            break;
        }
        out.push_str("  ");
    }
    let end = out.trim_end_matches(' ').len();
    out.truncate(end);
    out.push('\n');
}

/// The text within this many characters, with a `…` where something is missing.
fn cut(text: &str, width: usize) -> String {
    // Widths are counted in characters: one line per item also if a name has wider ones.
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) if width == 0 => String::new(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

/// Words of status have a colour on a terminal.
fn coloured(out: &mut String, text: &str, colour: bool) {
    let code = match text {
        "healthy" | "passed" | "done" | "active" | "up" => 32,
        "unhealthy" | "failed" | "open" | "down" => 31,
        "starting" | "current" => 33,
        "stopping" => 35,
        _ => 0,
    };
    if !colour || code == 0 {
        out.push_str(text);
        return;
    }
    // Writing to a string can't fail.
    let _ = write!(out, "\u{1b}[{code}m{text}\u{1b}[0m");
}

fn order(a: &Cell, b: &Cell) -> Ordering {
    match (a.number, b.number) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        // What has no value comes last.
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => natural(&a.text, &b.text),
    }
}

/// Compares texts with the numbers in them as numbers: `web-2` is before `web-10`.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(first), Some(second)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        if first.is_ascii_digit() && second.is_ascii_digit() {
            let (one, rest) = digits(left);
            let (other, others) = digits(right);
            let by_value = one.len().cmp(&other.len()).then_with(|| one.cmp(other));
            if by_value.is_ne() {
                return by_value;
            }
            (left, right) = (rest, others);
            continue;
        }
        if first != second {
            return first.cmp(&second);
        }
        left = &left[first.len_utf8()..];
        right = &right[second.len_utf8()..];
    }
}

/// The digits at the start, without leading zeros, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(end);
    let value = digits.trim_start_matches('0');
    (value, rest)
}

#[cfg(test)]
mod tests;
