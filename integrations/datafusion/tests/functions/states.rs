//! Groups that are emitted a part at a time, and rows that become partial states without being aggregated.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use crate::harness::{floats, function, mean_error, number, variance_error, with_args};
use crate::nasty::{Kind, column};
use crate::oracle::exact;

fn groups(name: &str, data_type: &DataType) -> Box<dyn GroupsAccumulator> {
    let function = function(name);
    with_args(&function, data_type, |args| function.create_groups_accumulator(args)).expect("a column of floats")
}

/// Few groups have so many rows that they need sums; others lie before, between and behind them.
#[test]
fn groups_leave_from_the_front() {
    let values = column::<f64>(Kind::Offset(1e8), 4, 0, 3000);
    for large in [0, 3, 12, 29] {
        // 30 groups: one of 100 rows, the others of one to five.
        let indices: Vec<usize> = (0..30)
            .flat_map(|group| std::iter::repeat_n(group, if group == large { 100 } else { group % 5 + 1 }))
            .collect();
        let of = |group| exact((0..indices.len()).filter(|row| indices[*row] == group).map(|row| values[row]));
        let expected: Vec<_> = (0..30).map(of).collect();
        for (name, first) in
            [1, 10, 25, 30].into_iter().flat_map(|first| [("var_pop_accurate", first), ("mean_accurate", first)])
        {
            let mut all = groups(name, &DataType::Float64);
            all.update_batch(&[floats(&values[..indices.len()])], &indices, None, 30).unwrap();
            let mut left = 30;
            while left > 0 {
                let emitted = if left > first { EmitTo::First(first) } else { EmitTo::All };
                let results = all.evaluate(emitted).unwrap();
                assert_eq!(results.len(), left.min(first));
                for at in 0..results.len() {
                    let (given, exact) = (number(&results, at).unwrap(), &expected[30 - left + at]);
                    let error = if name == "mean_accurate" {
                        mean_error(given, exact)
                    } else {
                        variance_error(given, exact, 0)
                    };
                    assert!(error <= 1.0, "{name}, large {large}, first {first}, group {}: {error}", 30 - left + at);
                }
                left -= results.len();
            }
            assert_eq!(all.evaluate(EmitTo::All).unwrap().len(), 0);
        }
    }
}

/// Slices of columns, whose memory begins before them, with and without nulls.
#[test]
fn rows_become_states() {
    let values = column::<f64>(Kind::Offset(1e6), 6, 0, 500);
    let singles: Vec<f32> = values.iter().map(|x| *x as f32).collect();
    let some = |row: usize| row % 3 != 1;
    let columns: [ArrayRef; 4] = [
        floats(&values),
        Arc::new(Float32Array::from(singles.clone())),
        Arc::new(Float64Array::from_iter((0..500).map(|row| some(row).then_some(values[row])))),
        Arc::new(Float32Array::from_iter((0..500).map(|row| some(row).then_some(singles[row])))),
    ];
    for whole in columns {
        let rows = whole.slice(37, 400);
        let [mut means, mut variances] =
            ["mean_accurate", "var_pop_accurate"].map(|name| groups(name, whole.data_type()));
        let states = means.convert_to_state(&[Arc::clone(&rows)], None).unwrap();
        assert_eq!(states.len(), 1);
        let with_bytes = (0..400).filter(|row| states[0].as_binary::<i64>().value(*row).len() == 8).count();
        assert_eq!(with_bytes, 400 - rows.null_count());
        let indices: Vec<usize> = (0..400).map(|row| row % 7).collect();
        for (all, name) in [(&mut means, "mean"), (&mut variances, "variance")] {
            all.merge_batch(&states, &indices, 7).unwrap();
            let results = all.evaluate(EmitTo::All).unwrap();
            let rows = arrow::compute::cast(&rows, &DataType::Float64).unwrap();
            for group in 0..7 {
                let members: Vec<f64> = (group..400).step_by(7).filter_map(|row| number(&rows, row)).collect();
                let (exact, given) = (exact(members.into_iter()), number(&results, group).unwrap());
                let error = if name == "mean" { mean_error(given, &exact) } else { variance_error(given, &exact, 0) };
                assert!(error <= 1.0, "{name} of group {group}: {error}");
            }
        }
    }
}
