//! The batch: built in, or read from a CSV file.

use std::error::Error;
use std::fmt;
use std::io::Read;
use std::path::Path;

/// Rows of numbers, with names.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<String>,
    /// The values, row by row.
    pub(crate) values: Vec<f32>,
}

/// Returns the scores of six pupils in five subjects.
pub(crate) fn exam() -> Table {
    let scores: [[u8; 5]; 6] = [
        [99, 10, 85, 90, 1],
        [99, 25, 75, 90, 1],
        [99, 30, 21, 90, 1],
        [99, 15, 80, 90, 1],
        [99, 12, 84, 91, 1],
        [99, 20, 85, 91, 99],
    ];
    Table {
        columns: ["Japanese", "maths", "English", "social studies", "science"].map(String::from).into(),
        rows: ["A", "B", "C", "D", "E", "F"].map(String::from).into(),
        values: scores.as_flattened().iter().map(|&score| f32::from(score)).collect(),
    }
}

/// Why a file is not a batch. Lines and columns count from 1.
#[derive(Debug)]
pub(crate) enum CsvError {
    /// The file cannot be read, or is not CSV in UTF-8.
    Read(String, csv::Error),
    /// A cell is not a number.
    Cell { line: u64, column: usize, text: String },
    /// A row is longer or shorter than the first.
    Ragged { line: u64, expected: usize, given: usize },
    /// There are no numbers.
    Empty,
}

impl fmt::Display for CsvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CsvError::Read(file, error) => write!(f, "{file}: {error}"),
            CsvError::Cell { line, column, text } => {
                write!(f, "line {line}, column {column}: {text:?} is not a number")
            }
            CsvError::Ragged { line, expected, given } => {
                let column = expected.min(given) + 1;
                write!(f, "line {line}, column {column}: expected {expected} cells, but the line has {given}")
            }
            CsvError::Empty => write!(f, "line 1, column 1: the file holds no numbers"),
        }
    }
}

impl Error for CsvError {}

pub(crate) fn read_csv(path: &Path) -> Result<Table, Box<dyn Error>> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|error| CsvError::Read(name.clone(), error.into()))?;
    Ok(parse_csv(file, &name)?)
}

/// Reads rows of numbers. A first line without any number is a header.
pub(crate) fn parse_csv(from: impl Read, name: &str) -> Result<Table, CsvError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(from);
    let mut table = Table { columns: Vec::new(), rows: Vec::new(), values: Vec::new() };
    let mut width = None;
    for record in reader.records() {
        let record = record.map_err(|error| CsvError::Read(name.into(), error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let expected = *width.get_or_insert(record.len());
        if record.len() != expected {
            return Err(CsvError::Ragged { line, expected, given: record.len() });
        }
        let is_first = table.columns.is_empty();
        if is_first && record.iter().all(|cell| cell.parse::<f32>().is_err()) && !record.iter().all(str::is_empty) {
            table.columns = record.iter().map(String::from).collect();
            continue;
        }
        if is_first {
            table.columns = (1..=expected).map(|column| format!("column {column}")).collect();
        }
        for (column, cell) in record.iter().enumerate() {
            let bad = || CsvError::Cell { line, column: column + 1, text: cell.into() };
            table.values.push(cell.parse().map_err(|_| bad())?);
        }
        table.rows.push(line.to_string());
    }
    if table.rows.is_empty() { Err(CsvError::Empty) } else { Ok(table) }
}
