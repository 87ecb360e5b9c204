//! Columns of text for people.

use std::fmt;

/// A table: a header and rows, each column as wide as its widest cell. The last column is not
/// padded, so that long reasons wrap as the terminal likes.
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these column titles.
    pub fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.into(), rows: Vec::new() }
    }

    /// Adds a row. Control characters are shown escaped: cells may hold a stranger's text.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        debug_assert_eq!(N, self.header.len(), "a row has a cell for each column");
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }
}

/// The text with control characters escaped, so that it can't steer a terminal.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { clean.extend(c.escape_debug()) } else { clean.push(c) }
    }
    clean
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut cells = cells.zip(&widths).peekable();
            while let Some((cell, width)) = cells.next() {
                match cells.peek() {
                    Some(_) => write!(f, "{cell:width$}  ")?,
                    None => writeln!(f, "{cell}")?,
                }
            }
            Ok(())
        };
        line(&mut self.header.iter().copied())?;
        self.rows.iter().try_for_each(|row| line(&mut row.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_are_harmless() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["é", "a\x1b[2Jb"]);
        table.row(["longer", ""]);
        assert_eq!(table.to_string(), "NAME    STATE\né       a\\u{1b}[2Jb\nlonger  \n");
    }
}
