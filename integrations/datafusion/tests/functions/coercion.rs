//! Types: f32 and f64 as they are, other numbers by cast, the rest refused.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::Result;

use crate::harness::{context, error, floats, mean_error, number, query, row, table, variance_error};
use crate::oracle::exact;

#[tokio::test]
async fn numbers_of_every_type() -> Result<()> {
    let small: Vec<f64> = (0..3000).map(|i| f64::from(i * 7 % 101)).collect();
    let fractions: Vec<f64> = small.iter().map(|x| x / 4.0).collect();
    let types = [
        (DataType::Int8, &small),
        (DataType::Int16, &small),
        (DataType::Int32, &small),
        (DataType::Int64, &small),
        (DataType::UInt8, &small),
        (DataType::UInt16, &small),
        (DataType::UInt32, &small),
        (DataType::UInt64, &small),
        (DataType::Float16, &fractions),
        (DataType::Float32, &fractions),
        (DataType::Float64, &fractions),
        (DataType::Decimal32(9, 2), &fractions),
        (DataType::Decimal64(18, 3), &fractions),
        (DataType::Decimal128(30, 2), &fractions),
        (DataType::Decimal256(50, 5), &fractions),
    ];
    for (data_type, values) in types {
        let column = cast(&floats(values), &data_type)?;
        let exact = exact(values.iter().copied());
        let ctx = context(2);
        table(&ctx, &[("x", Arc::clone(&column))], 2, 1000)?;
        for tail in ["", " GROUP BY x IS NULL"] {
            let sql = format!("SELECT mean_accurate(x), var_samp_accurate(x) FROM t{tail}");
            let [mean, variance] = row(&ctx, &sql).await?[..] else { panic!("two columns") };
            let errors = [mean_error(mean.unwrap(), &exact), variance_error(variance.unwrap(), &exact, 1)];
            assert!(errors.iter().all(|error| *error <= 1.0), "{data_type}{tail}: {errors:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn dictionaries_and_nulls() -> Result<()> {
    let column: ArrayRef = floats(&[1.0, 1.0, 4.0]);
    let dictionary = cast(&column, &DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Float64)))?;
    let ctx = context(1);
    table(&ctx, &[("x", dictionary)], 1, 10)?;
    assert_eq!(row(&ctx, "SELECT var_pop_accurate(x) FROM t").await?, [Some(2.0)]);
    assert_eq!(row(&ctx, "SELECT var_pop_accurate(NULL) FROM t").await?, [None]);
    assert_eq!(query(&ctx, "SELECT mean_accurate(NULL) FROM t GROUP BY x").await?, [[None], [None]]);
    Ok(())
}

#[tokio::test]
async fn what_is_no_number_is_refused() -> Result<()> {
    let ctx = context(1);
    for (argument, given) in
        [("'one'", "Utf8"), ("TRUE", "Boolean"), ("DATE '2020-01-01'", "Date32"), ("INTERVAL '1' DAY", "Interval")]
    {
        let message = error(&ctx, &format!("SELECT var_pop_accurate({argument})")).await;
        assert!(message.contains("var_pop_accurate takes numbers, not") && message.contains(given), "{message}");
    }
    let message = error(&ctx, "SELECT var_pop_accurate(1, 2)").await;
    assert!(message.contains("var_pop_accurate takes 1 argument, not 2"), "{message}");
    let message = error(&ctx, "SELECT var_pop_accurate()").await;
    assert!(message.contains("var_pop_accurate"), "{message}");
    Ok(())
}

/// Partial states that were damaged on their way are refused, with a name and both types.
#[test]
fn damaged_states_are_refused() {
    use crate::harness::{function, with_args};
    use arrow::array::{LargeBinaryArray, UInt64Array};
    for (name, most) in [("mean_accurate", 1u64), ("var_pop_accurate", 2)] {
        let function = function(name);
        let bytes = |bytes: Option<&[u8]>| -> ArrayRef { Arc::new(LargeBinaryArray::from_iter([bytes])) };
        let of = |count: u64, words: [f64; 5]| {
            bytes(Some(&[&count.to_le_bytes()[..], words.map(f64::to_le_bytes).as_flattened()].concat()))
        };
        let good = of(2, [1.0, 0.0, 0.0, 2.0, 0.0]);
        for (state, message) in [
            (vec![], "a partial state has 0 columns, not 1"),
            (vec![Arc::clone(&good); 2], "a partial state has 2 columns, not 1"),
            (vec![Arc::new(UInt64Array::from(vec![2])) as ArrayRef], "a partial state is LargeBinary, not UInt64"),
            (vec![bytes(Some(&[0; 40]))], "a partial state has 40 bytes, not 0, 8 or 48"),
            (vec![bytes(None)], "a column of partial states has 1 nulls, not 0"),
        ] {
            let column = with_args(&function, &DataType::Float64, |args| function.accumulator(args))
                .unwrap()
                .merge_batch(&state);
            let groups = with_args(&function, &DataType::Float64, |args| function.create_groups_accumulator(args))
                .unwrap()
                .merge_batch(&state, &[0], 1);
            for result in [column, groups] {
                let given = result.expect_err(message).strip_backtrace();
                assert!(given.contains(message), "{given}");
            }
        }
        let mut column = with_args(&function, &DataType::Float64, |args| function.accumulator(args)).unwrap();
        let mut groups =
            with_args(&function, &DataType::Float64, |args| function.create_groups_accumulator(args)).unwrap();
        for (count, words) in [
            (0, [f64::NAN, 0.0, 0.0, 0.0, 0.0]),
            (1, [1.0, 0.0, 0.0, 7.0, 0.0]),
            (2, [1.0, 0.0, 0.0, -1.0, 0.0]),
            (2, [f64::NAN, 0.0, 0.0, f64::NEG_INFINITY, 0.0]),
            (2, [f64::NAN, 0.0, 0.0, 1.0, 0.0]),
            (2, [1.0, f64::INFINITY, 0.0, 1.0, 0.0]),
            (5, [1.0, 0.0, 0.0, 1.0, -1e300]),
            (5, [1.0, 0.0, 0.0, 1.0, 1e-15]),
            (20, [1.0, 0.0, 0.0, 0.0, -5.0]),
            (20, [1.0, 1e300, 0.0, 1.0, 0.0]),
            (20, [1.0, 1e10, 0.0, 1.0, 0.0]),
            (2, [1.0, 0.0, 0.0, f64::NAN, 0.0]),
            (2, [f64::INFINITY, f64::NEG_INFINITY, 0.0, 1.0, 0.0]),
        ] {
            let state = vec![of(count, words)];
            for result in [column.merge_batch(&state), groups.merge_batch(&state, &[0], 1)] {
                let given = result.expect_err(&format!("{count} rows, {words:?}")).strip_backtrace();
                assert!(given.contains("no rows have a partial state of") || given.contains("must be"), "{given}");
            }
        }
        // States of 2^62 rows.
        let many = || vec![of(1 << 62, [1.0, 0.0, 0.0, 2.0, 0.0])];
        let mut group =
            with_args(&function, &DataType::Float64, |args| function.create_groups_accumulator(args)).unwrap();
        for _ in 0..most {
            group.merge_batch(&many(), &[0], 1).unwrap();
        }
        let given = group.merge_batch(&many(), &[0], 1).expect_err("too many rows").strip_backtrace();
        let expected = format!("{} rows cannot take a partial state of 4611686018427387904", most << 62);
        assert!(given.contains(&expected), "{given}");
        column.merge_batch(&[good]).unwrap();
        assert_eq!(number(&column.evaluate().unwrap().to_array().unwrap(), 0), Some(1.0));
    }
}
