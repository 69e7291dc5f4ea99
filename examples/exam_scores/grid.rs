//! Aligned tables. (The crates for this would take longer to build than the rest of the example.)

use unicode_width::UnicodeWidthStr;

/// Aligns the cells of rows: names on the left, numbers on the right. Rows may be of different lengths.
pub(crate) fn grid(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.width());
            let (left, right) = if column == 0 { ("", &padding[..]) } else { (&padding[..], "") };
            line += &format!(" {left}{cell}{right} ");
        }
        text += line.trim_end();
        text += "\n";
    }
    text
}
