//! Any bytes as the example's CSV file give a table, or an error that says where, but never a panic.
#![no_main]

use batchnorm_fuzz::assert_same_bits;
use libfuzzer_sys::fuzz_target;
use table::{CsvError, Missing, Reading, parse};

#[path = "../../examples/exam_scores/dialect.rs"]
#[allow(dead_code, reason = "the target uses a part of it")]
mod dialect;
#[path = "../../examples/exam_scores/table.rs"]
#[allow(dead_code, reason = "the target uses a part of it")]
mod table;

/// The ways to read a file that are worth trying on the same bytes.
fn ways() -> [Reading; 4] {
    let lenient = Reading { skip_text: true, missing: Missing::SkipCell, ..Reading::default() };
    [
        Reading::default(),
        lenient.clone(),
        Reading { header: Some(true), delimiter: Some(b';'), decimal: Some(b','), ..lenient.clone() },
        Reading { header: Some(false), missing: Missing::SkipRow, ..lenient },
    ]
}

fuzz_target!(|data: &[u8]| {
    for reading in ways() {
        let table = match parse(data, &reading) {
            Ok(table) => table,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                match error {
                    CsvError::Text { line, column, .. } | CsvError::Missing { line, column, .. } => {
                        assert!(line >= 1 && column >= 1);
                    }
                    CsvError::Marks { line, other, .. } => assert!(line >= other && other >= 1),
                    CsvError::Ragged { line, expected, given } => assert!(line >= 1 && expected != given),
                    CsvError::Utf16 | CsvError::Csv(_) | CsvError::Empty => {}
                }
                continue;
            }
        };
        assert!(!table.lines.is_empty() && !table.columns.is_empty(), "an empty table is an error");
        assert!(table.lines.is_sorted());
        assert!(table.columns.iter().all(|column| column.values.len() == table.lines.len()));

        // A table that is written and read again stays the same.
        let mut text = String::new();
        for row in 0..table.lines.len() {
            text += &table.columns.iter().map(|column| column.values[row].to_string()).collect::<Vec<_>>().join(",");
            text += "\n";
        }
        let plain =
            Reading { header: Some(false), delimiter: Some(b','), missing: Missing::SkipCell, ..Reading::default() };
        let again = parse(text.as_bytes(), &plain).expect("numbers only");
        assert_eq!((again.columns.len(), again.lines.len()), (table.columns.len(), table.lines.len()));
        for (column, again) in table.columns.iter().zip(&again.columns) {
            assert_same_bits("written and read again", &column.values, &again.values);
        }
    }
});
