//! Any bytes as the example's CSV file give a table, or an error that says where, but never a panic.
#![no_main]

use batchnorm_fuzz::assert_same_bits;
use libfuzzer_sys::fuzz_target;
use scores::{CsvError, parse_csv};

#[path = "../../examples/exam_scores/scores.rs"]
#[allow(dead_code, reason = "the built-in table and the file reader are not fuzzed")]
mod scores;

fuzz_target!(|data: &[u8]| {
    let table = match parse_csv(data, "fuzz.csv") {
        Ok(table) => table,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            match error {
                CsvError::Cell { line, column, .. } => assert!(line >= 1 && column >= 1, "{error}"),
                CsvError::Ragged { line, expected, given } => assert!(line >= 1 && expected != given, "{error}"),
                CsvError::Read(..) | CsvError::Empty => {}
            }
            return;
        }
    };
    assert!(!table.rows.is_empty(), "a table without rows is an error");
    assert_eq!(table.values.len(), table.rows.len() * table.columns.len());

    // A table that is written and read again stays the same.
    let mut text = String::new();
    for row in table.values.chunks(table.columns.len()) {
        text += &row.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        text += "\n";
    }
    let again = parse_csv(text.as_bytes(), "again.csv").expect("numbers only");
    assert_eq!((again.columns.len(), again.rows.len()), (table.columns.len(), table.rows.len()));
    assert_same_bits("written and read again", &table.values, &again.values);
});
