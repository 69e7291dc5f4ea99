//! Everything that streams compute from the rows of a batch.

use batchnorm::{Batch, BatchMut, Element, Ewm, Forgetting, Layout, Path, Standardize, Welford};

use crate::outputs::Hash;

const MOST_VALUES: usize = 1 << 14;

/// Hashes the numbers of streams that take the rows in pieces of 1, 2, 4, ... rows, and rows normalised by them.
pub(crate) fn stream<T: Element>(path: Path, data: &[T], layout: Layout, hash: &mut Hash) {
    // Planes are rows, too: each position is a feature.
    let features = layout.features() * layout.inner();
    let forgetting = Forgetting::from_half_life(7.0).expect("in range");
    let mut all = Welford::new(features).with_path(path);
    let mut weighted = [
        Ewm::new(features, forgetting).with_path(path),
        Ewm::new(features, Forgetting::from_alpha(0.9).expect("in range").with_adjust(false)).with_path(path),
    ];
    let row = features.max(1);
    // As many rows as reach every case: an emulated machine takes minutes for more.
    let data = &data[..data.len().min(MOST_VALUES.max(40 * row))];
    let (mut rest, mut rows) = (&data[..data.len() / row * row], 1);
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.len().min(rows * row));
        let piece = Batch::new(piece, Layout::nc(piece.len() / row, features)).expect("whole rows");
        all.push_rows(piece).expect("fits");
        for stream in &mut weighted {
            stream.push_rows(piece).expect("fits");
        }
        (rest, rows) = (tail, 2 * rows);
    }
    let mut twice = all.clone();
    twice.merge(&all).expect("same features");
    hash.moments(&all.moments());
    hash.moments(&twice.moments());
    let mut numbers = vec![0.0; features];
    for stream in &weighted {
        stream.means_into(&mut numbers).expect("fits");
        hash.values(&numbers);
        for ddof in [0.0, 1.0] {
            stream.variances_into(ddof, &mut numbers).expect("fits");
            hash.values(&numbers);
        }
    }
    let few = &data[..data.len().min(3 * row) / row * row];
    let x = Batch::new(few, Layout::nc(few.len() / row, features)).expect("whole rows");
    let mut out = few.to_vec();
    let options = Standardize::new().with_clip(1.5).expect("in range");
    all.normalize_rows_into(x, BatchMut::new(&mut out, x.layout()).expect("fits"), &options).expect("fits");
    hash.values(&out);
    weighted[0].normalize_rows_into(x, BatchMut::new(&mut out, x.layout()).expect("fits"), &options).expect("fits");
    hash.values(&out);
}
