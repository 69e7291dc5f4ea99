//! Rows that arrive in pieces: the result of an accumulator is bit-identical to a single call, and merged moments are
//! close to it.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use batchnorm::{Accumulator, Batch, Layout, Moments, moments};
use batchnorm_fuzz::assert_classes;
use batchnorm_fuzz::values::{FromBits, Recipe, Samples, Sides, cycle};
use libfuzzer_sys::fuzz_target;

/// How far merged moments may be from those of one call: this fraction of m2, and for the mean this fraction of the
/// standard deviation plus two ulp of the mean.
///
/// The documented bound for f32 values, a relative error of 4.6e-13 in m2, applies to the whole and to the parts, so
/// they may differ by twice that. But it assumes that rounding errors line up, which no data cause; this bound is
/// tighter, so it detects more. A merge adds almost nothing, because it works on double-doubles.
const MERGED: f64 = 4e-13;

/// Most values in total: several chunks, each of at least 16384 values if it is full.
const MOST_VALUES: usize = 200_000;

#[derive(Debug, Arbitrary)]
struct Header {
    double: bool,
    sides: Sides,
    len: u16,
    /// Outer blocks of the pieces, used in turn.
    pieces: [u16; 4],
    order: Order,
    samples: Samples,
    recipe: Recipe,
}

/// Which moments are merged first.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Order {
    /// Each piece into all pieces before it.
    Forward,
    /// Each piece into all pieces after it, so that the rows come in another order.
    Backward,
    /// Neighbours first, then neighbouring results.
    Tree,
}

/// Cuts the outer blocks into at most 65 pieces, some of them empty.
fn pieces(header: &Header, outer: usize) -> Vec<usize> {
    let mut left = outer;
    let mut pieces = Vec::new();
    for at in 0..64 {
        let piece = usize::from(header.pieces[at % 4]).min(left);
        pieces.push(piece);
        left -= piece;
        if left == 0 {
            break;
        }
    }
    if left > 0 {
        pieces.push(left);
    }
    pieces
}

fn merged(mut parts: Vec<Moments>, order: Order) -> Moments {
    if let Order::Backward = order {
        parts.reverse();
    }
    while parts.len() > 1 {
        let per_merge = if let Order::Tree = order { 2 } else { parts.len() };
        let join = |parts: &[Moments]| {
            let mut all = Moments::new(parts[0].num_features());
            for part in parts {
                all.merge(part).expect("same features");
            }
            all
        };
        parts = parts.chunks(per_merge).map(join).collect();
    }
    parts.pop().expect("at least one piece")
}

fn check<T: FromBits>(header: &Header, bytes: &[u8]) {
    // Squared, so that most batches are short.
    let len = (MOST_VALUES * (usize::from(header.len) + 1).pow(2)) >> 32;
    let layout = header.sides.layout(len);
    let mut data: Vec<T> = cycle(&header.recipe.values(bytes), layout.checked_len().expect("a small layout"));
    header.samples.replace(layout, &mut data);
    let whole = moments(Batch::new(&data, layout).expect("a batch"));

    let (features, inner) = (layout.features(), layout.inner());
    let row = features * inner;
    let mut rows = Accumulator::new(features, inner).expect("small sides");
    let mut updated = Moments::new(features);
    let mut parts = Vec::new();
    let mut from = 0;
    for outer in pieces(header, layout.outer()) {
        let piece = Layout::new(outer, features, inner);
        let len = piece.checked_len().expect("a small layout");
        let x = Batch::new(&data[from..from + len], piece).expect("a piece");
        rows.update(x).expect("same shape");
        if parts.len() % 16 == 1 {
            // Calling `moments` in between must change nothing.
            let so_far = Batch::new(&data[..from + len], Layout::new((from + len) / row, features, inner));
            assert_eq!(rows.moments(), moments(so_far.expect("a batch")));
        }
        updated.update(x).expect("same features");
        parts.push(moments(x));
        from += len;
    }
    let name = format!("{layout}, {}, {} pieces, {:?}", std::any::type_name::<T>(), parts.len(), header.order);
    assert_eq!(rows.moments(), whole, "{name}: accumulated");
    assert_eq!(updated, merged(parts.clone(), Order::Forward), "{name}: updated and merged");

    let given = merged(parts, header.order);
    let moderate = is_moderate(&data);
    for feature in 0..features {
        let column = data.chunks(inner).skip(feature).step_by(features).flatten().map(|x| x.to_f64());
        assert_classes(&name, &given, feature, column.clone());
        if moderate {
            assert_near(&name, &whole, &given, feature);
        }
    }
}

/// Returns whether no square of a difference can leave the range of an f64, or lose digits at its lower end.
fn is_moderate<T: FromBits>(data: &[T]) -> bool {
    data.iter().map(|x| x.to_f64().abs()).all(|x| x == 0.0 || (1e-100..1e100).contains(&x))
}

fn assert_near(name: &str, whole: &Moments, given: &Moments, feature: usize) {
    if whole.count(feature) == 0 {
        return;
    }
    let (mean, m2, sd) = (whole.mean(feature), whole.m2(feature), whole.std_dev(feature, 0.0));
    let error = (given.m2(feature) - m2).abs();
    assert!(error <= MERGED * m2, "{name}: m2 {:e} is {:e} of itself off {m2:e}", given.m2(feature), error / m2);
    let (error, ulp) = ((given.mean(feature) - mean).abs(), mean.abs().next_up() - mean.abs());
    assert!(
        error <= 2.0 * ulp + MERGED * sd,
        "{name}: mean {:e} is {} ulp and {:e} standard deviations off {mean:e}",
        given.mean(feature),
        error / ulp,
        error / sd
    );
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let Ok(header) = Header::arbitrary(&mut bytes) else { return };
    let bytes = bytes.take_rest();
    if header.double { check::<f64>(&header, bytes) } else { check::<f32>(&header, bytes) }
});
