//! Windows: each row's frame against exact arithmetic.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Float64Type;
use datafusion::error::Result;
use std::sync::Arc;

use crate::harness::{context, error, floats, mean_error, query, table, variance_error};
use crate::nasty::{Kind, column};
use crate::oracle::exact;

fn ordinals(len: usize) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(0..len as i64))
}

/// Checks each row of `OVER (ORDER BY i ROWS ..)`, where the frame of row `i` is `frame(i)`.
async fn check(values: &ArrayRef, rows: &str, frame: impl Fn(usize) -> std::ops::Range<usize>) -> Result<()> {
    let ctx = context(1);
    table(&ctx, &[("i", ordinals(values.len())), ("x", Arc::clone(values))], 1, 1000)?;
    let over = format!("OVER (ORDER BY i ROWS BETWEEN {rows})");
    let sql = format!("SELECT mean_accurate(x) {over}, var_pop_accurate(x) {over} FROM t ORDER BY i");
    let x = values.as_primitive::<Float64Type>();
    for (i, row) in query(&ctx, &sql).await?.iter().enumerate() {
        let inside: Vec<f64> = frame(i).filter(|row| x.is_valid(*row)).map(|row| x.value(row)).collect();
        if inside.is_empty() {
            assert_eq!(row[..], [None, None], "row {i}");
        } else if inside.iter().all(|x| x.is_finite()) {
            let exact = exact(inside.iter().copied());
            let errors = [mean_error(row[0].unwrap(), &exact), variance_error(row[1].unwrap(), &exact, 0)];
            assert!(errors.iter().all(|error| *error <= 1.0), "row {i} of {rows}: {errors:?}");
        } else {
            assert!(row[1].unwrap().is_nan(), "row {i} of {rows}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn rows_leave_without_a_trace() -> Result<()> {
    for kind in [Kind::Normal, Kind::Offset(1e12), Kind::OutlierEvery(512), Kind::Walk, Kind::Infinite] {
        let len = 700;
        let values = floats(&column::<f64>(kind, 5, 0, len));
        check(&values, "3 PRECEDING AND 2 FOLLOWING", |i| i.saturating_sub(3)..(i + 3).min(len)).await?;
        check(&values, "99 PRECEDING AND CURRENT ROW", |i| i.saturating_sub(99)..i + 1).await?;
        check(&values, "50 PRECEDING AND 40 PRECEDING", |i| i.saturating_sub(50)..(i + 1).saturating_sub(40)).await?;
        check(&values, "UNBOUNDED PRECEDING AND CURRENT ROW", |i| 0..i + 1).await?;
        check(&values, "CURRENT ROW AND UNBOUNDED FOLLOWING", |i| i..len).await?;
        check(&values, "UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", |_| 0..len).await?;
    }
    Ok(())
}

#[tokio::test]
async fn windows_skip_nulls() -> Result<()> {
    let values: arrow::array::Float64Array =
        (0..500).map(|i| (i % 7 > 2 && i % 50 > 10).then_some(f64::from(i * i % 101) + 1e9)).collect();
    let values: ArrayRef = Arc::new(values);
    check(&values, "5 PRECEDING AND CURRENT ROW", |i| i.saturating_sub(5)..i + 1).await
}

/// DataFusion's own subtracts rows from sums: what an outlier has rounded away never comes back.
#[tokio::test]
async fn an_outlier_passes() -> Result<()> {
    let ctx = context(1);
    table(&ctx, &[("i", ordinals(5)), ("x", floats(&[1.0, 2.0, 1e17, 3.0, 5.0]))], 1, 10)?;
    let over = "OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)";
    let rows = query(&ctx, &format!("SELECT var_pop_accurate(x) {over}, var_pop(x) {over} FROM t ORDER BY i")).await?;
    assert_eq!(rows[4][0], Some(1.0));
    assert_ne!(rows[4][1], Some(1.0), "DataFusion's own has been mended: say so in the README");
    Ok(())
}

#[tokio::test]
async fn distinct_windows_are_refused() -> Result<()> {
    let ctx = context(1);
    table(&ctx, &[("i", ordinals(5)), ("x", floats(&[1.0, 2.0, 2.0, 3.0, 5.0]))], 1, 10)?;
    let message = error(&ctx, "SELECT var_pop_accurate(DISTINCT x) OVER (ORDER BY i) FROM t").await;
    assert!(message.contains("DISTINCT"), "{message}");
    Ok(())
}
