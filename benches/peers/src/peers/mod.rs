//! The contenders: one file each, all with the same case.

#[cfg(feature = "burn")]
mod burn;
mod candle;
mod faer;
mod ndarray;
mod this;

use crate::case::{Case, Op};

/// One call. If given a vector, it also appends its result: means, then variances; or the normalised batch;
/// or the gradients with respect to inputs.
pub type Run<'a> = Box<dyn FnMut(Option<&mut Vec<f32>>) + 'a>;

pub struct Contender<'a> {
    pub name: &'static str,
    pub run: Run<'a>,
}

/// Returns this crate first, then the peers that support the operation.
pub fn contenders(case: &Case, op: Op) -> Vec<Contender<'_>> {
    let mut contenders = vec![Contender { name: "this", run: this::run(case, op) }];
    contenders.extend(ndarray::run(case, op).map(|run| Contender { name: "ndarray", run }));
    contenders.push(Contender { name: "candle-nn", run: candle::run(case, op) });
    contenders.extend(ndarray::preallocated(case, op).map(|run| Contender { name: "ndarray Zip", run }));
    contenders.extend(faer::run(case, op).map(|run| Contender { name: "faer", run }));
    #[cfg(feature = "burn")]
    contenders.extend(burn::run(case, op).map(|run| Contender { name: "burn (flex)", run }));
    contenders
}

/// Panics if a peer computes something else, because its time would be meaningless.
pub fn check(case: &Case, op: Op, contenders: &mut [Contender<'_>]) {
    let mut expected = Vec::new();
    for contender in contenders {
        let mut got = Vec::new();
        (contender.run)(Some(&mut got));
        if expected.is_empty() {
            expected = got;
            continue;
        }
        // A loose bound, because some peers sum a million values in f32.
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 0.01 * (1.0 + b.abs());
        let agrees = got.len() == expected.len() && got.iter().zip(&expected).all(close);
        assert!(agrees, "{} differs: {op} of {}", contender.name, case.name());
    }
}
