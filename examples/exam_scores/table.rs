//! Tables of numbers, read from CSV.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use super::dialect::{self, Marks, Mixed};

/// How to read a file. What is `None` is found out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Whether the first line has the names of the columns.
    pub(crate) header: Option<bool>,
    pub(crate) delimiter: Option<u8>,
    /// The decimal mark, a point or a comma.
    pub(crate) decimal: Option<u8>,
    /// Leaves out columns that have text.
    pub(crate) skip_text: bool,
    pub(crate) missing: Missing,
}

/// What to do about missing cells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Missing {
    #[default]
    Refuse,
    SkipRow,
    SkipCell,
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// One value per row; NaN where it is missing.
    pub(crate) values: Vec<f64>,
}

impl Column {
    /// Returns the values that are not missing.
    pub(crate) fn present(&self) -> Vec<f64> {
        self.values.iter().copied().filter(|value| !value.is_nan()).collect()
    }
}

/// Columns of numbers, all of the same length.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    /// The line of each row in the file, from 1.
    pub(crate) lines: Vec<u64>,
    /// What the reader should know about how the file was taken.
    pub(crate) notes: Vec<String>,
}

/// Why a file is not a table. Lines and columns count from 1.
#[derive(Debug)]
pub(crate) enum CsvError {
    Utf16,
    Csv(csv::Error),
    /// A cell is not a number.
    Text {
        line: u64,
        column: usize,
        name: String,
        text: String,
    },
    /// Cells of a column are missing, the first of them here.
    Missing {
        line: u64,
        column: usize,
        name: String,
        count: usize,
    },
    /// A row is longer or shorter than the first.
    Ragged {
        line: u64,
        expected: usize,
        given: usize,
    },
    /// A decimal mark differs from that of an earlier line.
    Marks {
        line: u64,
        column: usize,
        text: String,
        other: u64,
    },
    /// There are no rows, or no columns of numbers.
    Empty,
}

impl fmt::Display for CsvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CsvError::Utf16 => write!(f, "the file is UTF-16: save it as UTF-8"),
            CsvError::Csv(error) => write!(f, "{error}"),
            CsvError::Text { line, column, name, text } => {
                write!(f, "line {line}, column {column} ({name}): {text:?} is not a number; ")?;
                match text.contains(',') {
                    true => write!(f, "if the comma is a decimal mark: --decimal comma"),
                    false => write!(f, "--skip-text leaves out columns with text"),
                }
            }
            CsvError::Missing { line, column, name, count } => {
                let cells = if *count == 1 { "a cell is missing" } else { "the first of {} missing cells" };
                let cells = cells.replace("{}", &count.to_string());
                write!(f, "line {line}, column {column} ({name}): {cells}; ")?;
                write!(f, "--missing skip-row leaves out such rows, --missing skip-cell the cells alone")
            }
            CsvError::Ragged { line, expected, given } => {
                let column = expected.min(given) + 1;
                write!(f, "line {line}, column {column}: expected {expected} cells, but the line has {given}")
            }
            CsvError::Marks { line, column, text, other } => {
                write!(f, "line {line}, column {column}: {text:?} has another decimal mark than line {other}; ")?;
                write!(f, "--decimal point or --decimal comma chooses one")
            }
            CsvError::Empty => write!(f, "line 1, column 1: the file holds no numbers"),
        }
    }
}

impl Error for CsvError {}

/// Reads a table.
pub(crate) fn parse(bytes: &[u8], reading: &Reading) -> Result<Table, CsvError> {
    let text = dialect::decode(bytes).ok_or(CsvError::Utf16)?;
    let delimiter = reading.delimiter.unwrap_or_else(|| dialect::delimiter(&text));
    let mut builder = csv::ReaderBuilder::new();
    let mut reader = builder.has_headers(false).flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
    let (mut record, mut second) = (csv::StringRecord::new(), csv::StringRecord::new());
    if !reader.read_record(&mut record).map_err(CsvError::Csv)? {
        return Err(CsvError::Empty);
    }
    let mut more = reader.read_record(&mut second).map_err(CsvError::Csv)?;
    let marks = Marks::new(reading.decimal, delimiter);
    let header = reading.header.unwrap_or_else(|| is_header(&record, &second));
    let mut rows = Rows::new(&record, header, marks, reading);
    if let Cow::Owned(_) = text {
        rows.notes.push("the file is not UTF-8: the bytes that are not are shown as \u{fffd}".into());
    }
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    if !header {
        rows.notes.extend(like_a_header(&record, &second).filter(|_| reading.header.is_none()));
        rows.push(&record, lines.of(&record))?;
    }
    std::mem::swap(&mut record, &mut second);
    while more {
        rows.push(&record, lines.of(&record))?;
        more = reader.read_record(&mut record).map_err(CsvError::Csv)?;
    }
    rows.finish(reading)
}

/// Counts lines. (The reader's own count lags behind where lines end in `\r\n` or are empty.)
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// Returns the line on which a record starts. Records come in the order of the text.
    fn of(&mut self, record: &csv::StringRecord) -> u64 {
        let byte = record.position().map_or(0, csv::Position::byte);
        let start = usize::try_from(byte).unwrap_or(usize::MAX).min(self.text.len());
        let ends = self.text[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.text.get(self.at..start + ends).unwrap_or_default();
        self.line += passed.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        self.at = self.at.max(start + ends);
        self.line
    }
}

/// Returns whether a cell holds a number, with either decimal mark.
fn is_number(cell: &str) -> bool {
    let cell = cell.trim();
    !dialect::is_missing(cell) && cell.replacen(',', ".", 1).parse::<f64>().is_ok()
}

fn is_text(cell: &str) -> bool {
    !dialect::is_missing(cell.trim()) && !is_number(cell)
}

/// Returns whether the first line has the names of the columns: it has text where the second has a number, or nothing
/// but text.
fn is_header(first: &csv::StringRecord, second: &csv::StringRecord) -> bool {
    let names_a_number = first.iter().zip(second).any(|(first, second)| is_text(first) && is_number(second));
    names_a_number || first.iter().any(is_text) && !first.iter().any(is_number)
}

/// Returns a note if the first line, though taken as data, counts upwards like years or numbered columns.
fn like_a_header(first: &csv::StringRecord, second: &csv::StringRecord) -> Option<String> {
    let counts = |record: &csv::StringRecord| {
        let numbers: Vec<f64> = record.iter().filter_map(|cell| cell.trim().parse().ok()).collect();
        numbers.len() >= 3 && numbers.windows(2).all(|pair| pair[1] - pair[0] == 1.0)
    };
    (counts(first) && !counts(second)).then(|| {
        let cells: Vec<_> = first.iter().take(3).map(str::trim).collect();
        format!("the first line ({}, ...) was taken as data; --header yes takes it as names", cells.join(", "))
    })
}

/// A column that is being read.
struct Reader {
    column: Column,
    missing: usize,
    first_missing: u64,
    /// The first cell that is not a number, and its line.
    text: Option<(u64, String)>,
}

/// The rows that have been read.
struct Rows {
    columns: Vec<Reader>,
    lines: Vec<u64>,
    notes: Vec<String>,
    marks: Marks,
    skip_text: bool,
}

impl Rows {
    fn new(first: &csv::StringRecord, header: bool, marks: Marks, reading: &Reading) -> Self {
        let name = |(at, cell): (usize, &str)| match cell.trim() {
            name if header && !name.is_empty() => name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            _ => format!("column {}", at + 1),
        };
        let column =
            |name| Reader { column: Column { name, values: Vec::new() }, missing: 0, first_missing: 0, text: None };
        let columns = first.iter().enumerate().map(name).map(column).collect();
        Rows { columns, lines: Vec::new(), notes: Vec::new(), marks, skip_text: reading.skip_text }
    }

    fn push(&mut self, record: &csv::StringRecord, line: u64) -> Result<(), CsvError> {
        let (expected, given) = (self.columns.len(), record.len());
        if given != expected {
            return Err(CsvError::Ragged { line, expected, given });
        }
        self.lines.push(line);
        for (at, (reader, cell)) in self.columns.iter_mut().zip(record).enumerate() {
            if reader.text.is_some() {
                continue;
            }
            let (cell, column) = (cell.trim(), at + 1);
            let marks = |Mixed(other)| CsvError::Marks { line, column, text: cell.into(), other };
            if dialect::is_missing(cell) {
                if reader.missing == 0 {
                    reader.first_missing = line;
                }
                reader.missing += 1;
                reader.column.values.push(f64::NAN);
            } else if let Some(number) = self.marks.number(cell, line).map_err(marks)? {
                reader.column.values.push(number);
            } else if self.skip_text {
                reader.text = Some((line, cell.into()));
            } else {
                return Err(CsvError::Text { line, column, name: reader.column.name.clone(), text: cell.into() });
            }
        }
        Ok(())
    }

    /// Leaves out columns without numbers, and deals with missing cells.
    fn finish(self, reading: &Reading) -> Result<Table, CsvError> {
        let Rows { columns, mut lines, mut notes, marks, .. } = self;
        if marks.found_commas() {
            notes.push("commas were taken as decimal marks (1,5 is 1.5); --decimal point refuses them".into());
        }
        let mut kept = Vec::new();
        for (at, reader) in columns.into_iter().enumerate() {
            let name = &reader.column.name;
            if let Some((line, text)) = &reader.text {
                notes.push(format!("skipped text column {name:?} (line {line}: {text:?})"));
            } else if reader.missing == lines.len() {
                notes.push(format!("skipped empty column {name:?}"));
            } else if reader.missing > 0 && reading.missing == Missing::Refuse {
                let (line, name, count) = (reader.first_missing, name.clone(), reader.missing);
                return Err(CsvError::Missing { line, column: at + 1, name, count });
            } else {
                kept.push(reader.column);
            }
        }
        if reading.missing == Missing::SkipRow {
            let whole: Vec<bool> =
                (0..lines.len()).map(|row| kept.iter().all(|column| !column.values[row].is_nan())).collect();
            keep(&mut lines, &whole);
            kept.iter_mut().for_each(|column| keep(&mut column.values, &whole));
            match whole.iter().filter(|whole| !**whole).count() {
                0 => {}
                rows => notes.push(format!("skipped {rows} of {} rows, which have missing cells", whole.len())),
            }
        }
        match kept.is_empty() || lines.is_empty() {
            true => Err(CsvError::Empty),
            false => Ok(Table { columns: kept, lines, notes }),
        }
    }
}

/// Keeps the items that are marked.
fn keep<T>(items: &mut Vec<T>, marked: &[bool]) {
    let mut marked = marked.iter();
    items.retain(|_| marked.next().copied().unwrap_or(true));
}
