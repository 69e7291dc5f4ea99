//! Merging moments at a standard deviation near the last place of the mean, where rounding the mean in a merge is
//! visible. The oracle is integer arithmetic: values are whole multiples of one unit above a base.

mod common;

use batchnorm::{Accumulator, Batch, Layout, Moments, Path, moments};
use common::merging::{BASE, Search, UNIT, Whole, chunk, tree};

/// A greedy search for chunks whose rounding errors line up. (With means of two words it found 4.9 units for 32 chunks
/// and 7.7 for 512: each merge rounded the mean by half a unit of a standard deviation's last place.)
#[test]
fn errors_of_merges_do_not_line_up() {
    for (len, count) in [(1001, 3), (257, 7), (16_385, 31), (777, 32), (4097, 45), (1001, 127)] {
        let candidates: Vec<_> = (0..24)
            .map(|i| (i % 2 + i / 12, len / 2 + (i * 37 + i * i * 11) % (len / 4) - len / 8))
            .map(|(level, k)| chunk(UNIT, len, level, k))
            .collect();
        let mut seed = len as u64;
        let mut any = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            candidates[(seed >> 33) as usize % candidates.len()].clone()
        };
        let mut chunks: Vec<_> = (0..count).map(|_| any()).collect();
        let worst = Search { unit: UNIT, merged: tree, candidates: &candidates }.run(&mut chunks, 2);
        println!("{count} chunks of {len}: at most {worst:.3} units off");
        assert!(worst < 1.0, "{count} chunks of {len} values: {worst} units off");
    }
}

/// The chunks that an audit found: 32 planes, of which so many values are one unit up.
#[test]
fn planes_that_lined_up_are_right() {
    const UPS: [usize; 32] = [
        8091, 8199, 8187, 8215, 8155, 8199, 8187, 8247, 8155, 8199, 8187, 8215, 8155, 8199, 8187, 8503, 24679, 24571,
        24583, 24555, 24615, 24571, 24583, 24523, 24615, 24571, 24583, 24555, 24615, 24571, 24583, 24267,
    ];
    const LEN: usize = 16_385;
    let (mut values, mut whole) = (Vec::new(), Whole::default());
    for ups in UPS {
        let (level, k) = (ups / LEN, ups % LEN);
        let mut left = k;
        for position in 0..LEN {
            let up = usize::from(left > 0 && !(7936..8448).contains(&position));
            left -= up;
            let units = (level + up) as i128;
            whole = whole.add(Whole { count: 1, sum: units, squares: units * units });
            values.push(BASE + units as f64 * UNIT);
        }
    }
    let x = Batch::new(&values, Layout::new(UPS.len(), 1, LEN)).expect("a batch");
    let m = moments(x);
    assert_eq!(m, Path::Scalar.moments(x));
    let error = whole.error(m.variance(0, 0.0) / (UNIT * UNIT));
    assert!(error.abs() < 1.0, "{error} units off");
}

/// A million rows in ascending order, one by one: as accurate as one call at any distance of the mean from 0.
#[test]
fn a_million_updates_are_as_accurate_as_one_call() {
    for level in [0.0, 1e6, 1e12, 1e14, 3e14] {
        let n = 1_000_000usize;
        let row = |i: usize| level + (i as f64 / n as f64).sqrt() * 4.2;
        // Whole multiples of 2^-6 above the level; at 0 and 1e6 they are rounded to that first.
        let rows: Vec<f64> = (0..n).map(|i| level + ((row(i) - level) * 64.0).round() / 64.0).collect();
        let whole = rows.iter().fold(Whole::default(), |whole, x| {
            let units = ((x - level) * 64.0) as i128;
            assert_eq!(units as f64 / 64.0 + level, *x);
            whole.add(Whole { count: 1, sum: units, squares: units * units })
        });
        let mut updated = Moments::new(1);
        let mut collected = Accumulator::new(1, 1).expect("a shape");
        for x in &rows {
            let row = Batch::new(std::slice::from_ref(x), Layout::nc(1, 1)).expect("a row");
            updated.update(row).expect("the same features");
            collected.update(row).expect("the same features");
        }
        let (exact, n) = (whole.count * whole.squares - whole.sum * whole.sum, n as f64);
        let variance = exact as f64 / n / n / 4096.0; // rounded three times: within 2 units
        for (name, given) in [("updates", &updated), ("accumulator", &collected.moments())] {
            let error = (given.variance(0, 0.0) - variance).abs() / (variance.next_up() - variance);
            assert!(error <= 3.0, "{name} at {level:e}: {error} units off");
            let mean = level + (whole.sum as f64 / n) / 64.0;
            assert!((given.mean(0) - mean).abs() <= mean.next_up() - mean, "{name} at {level:e}: the mean");
        }
    }
}

/// Counts do not wrap: a merge past `u64::MAX` values is refused, and changes nothing.
#[test]
fn too_many_values_are_refused() {
    let one = moments(Batch::new(&[1.0f64], Layout::nc(1, 1)).expect("a batch"));
    let mut most = Moments::from_parts(batchnorm::MomentsParts { counts: &[u64::MAX], ..one.parts() }).expect("parts");
    let before = most.clone();
    let error = most.merge(&one).unwrap_err();
    assert_eq!(
        error.to_string(),
        "moments of 18446744073709551615 and 1 values cannot be merged: a feature has at most 18446744073709551615 values"
    );
    assert_eq!(most, before);
}

/// Where the last place of a mean is the smallest subnormal number, each merge rounds to a whole number of these: the
/// documented limit of half of one per level of the tree.
#[test]
fn means_of_the_smallest_size_are_within_their_limit() {
    for levels in [2u32, 6, 10] {
        let ks: Vec<u64> = (0..1 << levels).map(|i: u64| u64::from(i.count_ones()) * 2 + i % 2).collect();
        let mut parts: Vec<Moments> = ks
            .iter()
            .map(|k| [f64::from_bits(f64::MIN_POSITIVE.to_bits() + k)])
            .map(|x| moments(Batch::new(&x, Layout::nc(1, 1)).expect("a batch")))
            .collect();
        while parts.len() > 1 {
            parts = parts
                .chunks(2)
                .map(|pair| {
                    let mut a = pair[0].clone();
                    a.merge(&pair[1]).expect("the same features");
                    a
                })
                .collect();
        }
        let exact = ks.iter().sum::<u64>() as f64 / ks.len() as f64;
        let given = (parts[0].mean(0).to_bits() - f64::MIN_POSITIVE.to_bits()) as f64;
        let limit = 0.5 + 0.5 * f64::from(levels);
        assert!((given - exact).abs() <= limit, "{levels} levels: {given} for {exact}");
    }
}
