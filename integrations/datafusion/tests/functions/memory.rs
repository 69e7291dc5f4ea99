//! The memory that accumulators report is the memory that they hold.

use allocation_counter::measure;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::logical_expr::{Accumulator, GroupsAccumulator};

use crate::harness::{floats, function, with_args};
use crate::nasty::{Kind, column};

/// Checks that reported memory covers what is held, and is no more than `most` times as much (and 1 KiB).
fn check(reported: usize, held: i64, most: f64, what: &str) {
    let held = held as f64;
    assert!(reported as f64 >= held, "{what}: {reported} bytes reported, {held} held");
    assert!(reported as f64 <= most * held + 1024.0, "{what}: {reported} bytes reported, {held} held");
}

#[test]
fn columns_report_their_memory() {
    let function = function("moments");
    for len in [1, 100, 5000, 8192, 30_000, 100_000, 1_000_000] {
        let values = floats(&column::<f64>(Kind::Normal, 1, 0, len));
        let mut accumulator: Option<Box<dyn Accumulator>> = None;
        let held = measure(|| {
            let mut column = with_args(&function, &DataType::Float64, |args| function.accumulator(args)).unwrap();
            for start in (0..len).step_by(8192) {
                column.update_batch(&[values.slice(start, 8192.min(len - start))]).unwrap();
            }
            accumulator = Some(column);
        });
        let column = accumulator.expect("an accumulator");
        check(column.size(), held.bytes_current, 2.5, &format!("{len} rows"));
        assert!(column.size() < 300_000);
    }
}

#[test]
fn groups_report_their_memory() {
    for (name, groups) in [("moments", 1000), ("moments", 100_000), ("mean_accurate", 1000), ("mean_accurate", 100_000)]
    {
        let function = function(name);
        let values: ArrayRef = floats(&column::<f64>(Kind::Normal, 1, 0, groups));
        let indices: Vec<usize> = (0..groups).collect();
        let mut accumulator: Option<Box<dyn GroupsAccumulator>> = None;
        let held = measure(|| {
            let mut all =
                with_args(&function, &DataType::Float64, |args| function.create_groups_accumulator(args)).unwrap();
            for start in (0..groups).step_by(1000) {
                all.update_batch(&[values.slice(start, 1000)], &indices[start..start + 1000], None, start + 1000)
                    .unwrap();
            }
            accumulator = Some(all);
        });
        check(accumulator.expect("an accumulator").size(), held.bytes_current, 1.2, &format!("{groups} groups"));
    }
}

#[test]
fn windows_report_their_memory() {
    let function = function("moments");
    let values: ArrayRef = floats(&column::<f64>(Kind::Normal, 1, 0, 10_000));
    let mut accumulator: Option<Box<dyn Accumulator>> = None;
    let held = measure(|| {
        let mut window =
            with_args(&function, &DataType::Float64, |args| function.create_sliding_accumulator(args)).unwrap();
        window.update_batch(&[values.slice(0, 6000)]).unwrap();
        window.retract_batch(&[values.slice(0, 100)]).unwrap();
        window.update_batch(&[values.slice(6000, 4000)]).unwrap();
        accumulator = Some(window);
    });
    let mut window = accumulator.expect("an accumulator");
    check(window.size(), held.bytes_current, 1.2, "a window");
    let message = window.retract_batch(&[floats(&[1.0; 9901])]).expect_err("too many").strip_backtrace();
    assert!(message.contains("9901 rows leave a window of 9900"), "{message}");
}
