//! faer: column statistics of a matrix, written to existing rows. It has no batch norm, and no batches of planes.

use faer::stats::{NanHandling, row_mean, row_varm};
use faer::{MatRef, Row};

use super::Run;
use crate::case::{Case, Op};

pub fn run(case: &Case, op: Op) -> Option<Run<'_>> {
    let &[rows, features] = case.shape else { return None };
    if op != Op::Moments {
        return None;
    }
    let x = MatRef::from_row_major_slice(&case.x, rows, features);
    let mut mean = Row::<f32>::zeros(features);
    let mut variance = Row::<f32>::zeros(features);
    Some(Box::new(move |result| {
        row_mean(mean.as_mut(), x, NanHandling::Propagate);
        row_varm(variance.as_mut(), x, mean.as_ref(), NanHandling::Propagate);
        if let Some(result) = result {
            // Its variance is unbiased; the others are not.
            let biased = (rows - 1) as f32 / rows as f32;
            result.extend(mean.iter());
            result.extend(variance.iter().map(|v| v * biased));
        }
    }))
}
