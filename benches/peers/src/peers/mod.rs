//! The contenders: one file each, all given the same case.

#[cfg(feature = "burn")]
mod burn;
mod candle;
mod faer;
mod ndarray;
mod this;

use crate::case::{Case, Op};

/// One call. Given a vector, it also appends what it computed: means, then variances; or the normalised batch.
pub type Run<'a> = Box<dyn FnMut(Option<&mut Vec<f32>>) + 'a>;

pub struct Contender<'a> {
    pub name: &'static str,
    pub run: Run<'a>,
}

/// This crate first, then the peers that can do it.
pub fn contenders(case: &Case, op: Op) -> Vec<Contender<'_>> {
    let mut contenders = vec![
        Contender { name: "this", run: this::run(case, op) },
        Contender { name: "ndarray", run: ndarray::run(case, op) },
        Contender { name: "candle-nn", run: candle::run(case, op) },
    ];
    contenders.extend(ndarray::preallocated(case, op).map(|run| Contender { name: "ndarray Zip", run }));
    contenders.extend(faer::run(case, op).map(|run| Contender { name: "faer", run }));
    #[cfg(feature = "burn")]
    contenders.push(Contender { name: "burn (flex)", run: burn::run(case, op) });
    contenders
}

/// Ends the program where a peer computes something else: a time of that would mean nothing.
pub fn check(case: &Case, op: Op, contenders: &mut [Contender<'_>]) {
    let mut expected = Vec::new();
    for contender in contenders {
        let mut got = Vec::new();
        (contender.run)(Some(&mut got));
        if expected.is_empty() {
            expected = got;
            continue;
        }
        // Loose: f32 sums of a million values are what some peers do.
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 0.01 * (1.0 + b.abs());
        let agrees = got.len() == expected.len() && got.iter().zip(&expected).all(close);
        assert!(agrees, "{} differs: {op} of {}", contender.name, case.name());
    }
}
