//! What differs between CSV files: encoding, delimiter, decimal mark, and words for missing values.

use std::borrow::Cow;

/// Lines and bytes that the guess of the delimiter looks at.
const SAMPLE_LINES: usize = 20;
const SAMPLE_BYTES: usize = 1 << 16;

/// The delimiters that are guessed. The first that splits all lines alike wins: in a file with semicolons, commas are
/// decimal marks or text.
const DELIMITERS: [u8; 3] = [b'\t', b';', b','];

/// Returns the text of a file without its byte order mark, or `None` if it is UTF-16. Bytes that are not UTF-8 become
/// U+FFFD, which no number has: names in other encodings should not keep anyone from the numbers.
pub(crate) fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return None;
    }
    Some(String::from_utf8_lossy(bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes)))
}

/// Guesses the delimiter from the first lines.
pub(crate) fn delimiter(text: &str) -> u8 {
    let counts = counts(&text.as_bytes()[..text.len().min(SAMPLE_BYTES)]);
    let evenly = |at: &usize| counts.iter().all(|line| line[*at] > 0 && line[*at] == counts[0][*at]);
    let total = |at: &usize| counts.iter().map(|line| line[*at]).sum::<usize>();
    let even = (0..DELIMITERS.len()).find(|at| !counts.is_empty() && evenly(at));
    // Of equal totals the last, the comma.
    DELIMITERS[even.or_else(|| (0..DELIMITERS.len()).max_by_key(total)).unwrap_or(DELIMITERS.len() - 1)]
}

/// Counts the delimiters of each line, outside of quotes.
fn counts(sample: &[u8]) -> Vec<[usize; DELIMITERS.len()]> {
    let mut lines = Vec::new();
    let mut line = [0; DELIMITERS.len()];
    let (mut quoted, mut blank, mut cell_start) = (false, true, true);
    for &byte in sample {
        let delimiter = DELIMITERS.iter().position(|delimiter| *delimiter == byte);
        match byte {
            b'"' if quoted || cell_start => quoted = !quoted,
            b'\n' if !quoted && !blank => {
                lines.push(std::mem::take(&mut line));
                blank = true;
            }
            _ => {}
        }
        if let (Some(at), false) = (delimiter, quoted) {
            line[at] += 1;
        }
        blank &= byte.is_ascii_whitespace() && byte != b'\t';
        cell_start = delimiter.is_some() || byte == b'\n';
        if lines.len() == SAMPLE_LINES {
            return lines;
        }
    }
    // A line that the sample cuts may lack delimiters; a last line without a line feed does not.
    if !blank && (sample.len() < SAMPLE_BYTES || lines.is_empty()) {
        lines.push(line);
    }
    lines
}

/// Returns whether a cell stands for a missing value.
pub(crate) fn is_missing(cell: &str) -> bool {
    // Most cells are numbers: decide on their first byte.
    match cell.as_bytes().first() {
        None => true,
        Some(b'n' | b'N' | b'#' | b'-' | b'+' | b'?') => {
            let words = ["na", "n/a", "#n/a", "nan", "-nan", "+nan", "null", "none", "-", "?"];
            words.iter().any(|word| cell.eq_ignore_ascii_case(word))
        }
        Some(_) => false,
    }
}

/// The decimal marks of a file.
#[derive(Debug)]
pub(crate) struct Marks {
    point: bool,
    comma: bool,
    /// The mark that was seen first, and its line, if both are allowed.
    seen: Option<(u8, u64)>,
}

/// The line of a decimal mark that differs from this cell's.
#[derive(Debug, PartialEq)]
pub(crate) struct Mixed(pub(crate) u64);

impl Marks {
    /// A file has one mark: the one `given`, or the one that it shows. Between commas, a comma in a number is more
    /// likely to divide thousands: it is a decimal mark only if that is `given`.
    pub(crate) fn new(given: Option<u8>, delimiter: u8) -> Self {
        let comma = given.map_or(delimiter != b',', |mark| mark == b',');
        Marks { point: given != Some(b','), comma, seen: None }
    }

    /// Returns whether decimal commas were found without being asked for.
    pub(crate) fn found_commas(&self) -> bool {
        matches!(self.seen, Some((b',', _)))
    }

    /// Returns the number that a cell holds, or `None` if it holds none.
    pub(crate) fn number(&mut self, cell: &str, line: u64) -> Result<Option<f64>, Mixed> {
        if !self.comma {
            return Ok(cell.parse().ok());
        }
        let mark = match cell.bytes().find(|byte| matches!(byte, b'.' | b',')) {
            None => return Ok(cell.parse().ok()),
            Some(mark) => mark,
        };
        let number = if mark == b',' {
            // Another comma or a point remains, and makes this no number.
            if cell.contains('.') { None } else { cell.replacen(',', ".", 1).parse().ok() }
        } else if self.point {
            cell.parse().ok()
        } else {
            None
        };
        if number.is_some() && self.point {
            match *self.seen.get_or_insert((mark, line)) {
                (seen, _) if seen == mark => {}
                (_, at) => return Err(Mixed(at)),
            }
        }
        Ok(number)
    }
}
