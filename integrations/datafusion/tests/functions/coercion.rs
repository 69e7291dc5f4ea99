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
    use arrow::array::{Float64Array, UInt64Array};
    let function = function("mean_accurate");
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![2]));
    let word = |x: Option<f64>| Arc::new(Float64Array::from(vec![x])) as ArrayRef;
    let (one, zero) = (word(Some(1.0)), word(Some(0.0)));
    let good: Vec<ArrayRef> = vec![counts, one, zero.clone(), zero.clone(), zero.clone(), zero.clone()];
    let damage = |at: usize, column: ArrayRef| {
        let mut state = good.clone();
        state[at] = column;
        state
    };
    for (state, message) in [
        (vec![], "6 columns, not 0"),
        (good[..3].to_vec(), "a column of UInt64 and five of Float64, not UInt64, Float64, Float64"),
        (damage(0, zero.clone()), "not Float64, Float64"),
        (damage(2, good[0].clone()), "column mean_middle of a partial state is Float64, not UInt64"),
        (damage(5, word(None)), "column m2_low of a partial state has 1 nulls, not 0"),
    ] {
        let column =
            with_args(&function, &DataType::Float64, |args| function.accumulator(args)).unwrap().merge_batch(&state);
        let groups = with_args(&function, &DataType::Float64, |args| function.create_groups_accumulator(args))
            .unwrap()
            .merge_batch(&state, &[0], 1);
        for result in [column, groups] {
            let given = result.expect_err(message).strip_backtrace();
            assert!(given.contains(message), "{given}");
        }
    }
    let mut column = with_args(&function, &DataType::Float64, |args| function.accumulator(args)).unwrap();
    let mut groups = with_args(&function, &DataType::Float64, |args| function.create_groups_accumulator(args)).unwrap();
    let negative = damage(4, word(Some(-1.0)));
    for result in [column.merge_batch(&negative), groups.merge_batch(&negative, &[0], 1)] {
        let given = result.expect_err("a negative m2").strip_backtrace();
        assert!(given.contains("m2s must be NaN or at least 0, but is -1"), "{given}");
    }
    column.merge_batch(&good).unwrap();
    assert_eq!(number(&column.evaluate().unwrap().to_array().unwrap(), 0), Some(1.0));
}
