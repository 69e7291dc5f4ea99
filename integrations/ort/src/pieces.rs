//! A batch in pieces, which threads normalise: the output is that of the whole, bit for bit.

use std::ops::Range;

use batchnorm::{Batch, BatchMut, Element, Inference, Layout};

/// Fewest bytes of a piece: work that takes longer than to hand it to another thread.
const PIECE_BYTES: usize = 1 << 17;

/// Most pieces along the batch. (Threads take the next piece as they finish one, so a few per thread are enough.)
const PIECES: usize = 32;

/// Most blocks of channels.
const BLOCKS: usize = 16;

/// A frozen layer, whole and in blocks of channels.
pub(crate) struct Frozen {
    whole: Inference,
    blocks: Vec<Inference>,
}

impl Frozen {
    /// Freezes a layer of so many features, which `layer` makes for any range of them.
    pub(crate) fn new(
        features: usize,
        layer: impl Fn(Range<usize>) -> batchnorm::Result<Inference>,
    ) -> batchnorm::Result<Self> {
        let whole = layer(0..features)?;
        let block = features.div_ceil(BLOCKS).max(1);
        let blocks = (0..features).step_by(block).map(|start| layer(start..features.min(start + block)));
        Ok(Frozen { whole, blocks: blocks.collect::<batchnorm::Result<_>>()? })
    }

    pub(crate) fn num_features(&self) -> usize {
        self.whole.num_features()
    }

    /// Cuts a batch, in place without `x`, into pieces; one, if it is small.
    pub(crate) fn cut<'a, T>(&'a self, layout: Layout, x: Option<&'a [T]>, y: &'a mut [T]) -> Vec<Piece<'a, T>> {
        let (features, inner) = (layout.features(), layout.inner());
        let least = (PIECE_BYTES / size_of::<T>()).max(y.len() / PIECES);
        if y.len() < 2 * least {
            return vec![Piece { norm: &self.whole, layout, x, y }];
        }
        let row = features * inner;
        if row < 2 * least {
            return cut_rows(&self.whole, least.div_ceil(row), layout, x, y);
        }
        // Few long rows, or only one: each is cut between channels.
        let rows = cut_rows(&self.whole, 1, layout, x, y);
        rows.into_iter().flat_map(|row| cut_channels(&self.blocks, inner, row)).collect()
    }
}

fn cut_rows<'a, T>(
    norm: &'a Inference,
    rows: usize,
    layout: Layout,
    x: Option<&'a [T]>,
    y: &'a mut [T],
) -> Vec<Piece<'a, T>> {
    let (features, inner) = (layout.features(), layout.inner());
    let values = rows * features * inner;
    let parts = y.chunks_mut(values).enumerate().map(|(at, y)| {
        let layout = Layout::new(y.len() / (features * inner), features, inner);
        Piece { norm, layout, x: x.map(|x| &x[at * values..at * values + y.len()]), y }
    });
    parts.collect()
}

fn cut_channels<'a, T>(blocks: &'a [Inference], inner: usize, row: Piece<'a, T>) -> impl Iterator<Item = Piece<'a, T>> {
    let (mut x, mut y) = (row.x, row.y);
    blocks.iter().map(move |norm| {
        let values = norm.num_features() * inner;
        let (first, rest) = std::mem::take(&mut y).split_at_mut(values);
        y = rest;
        let first_x = x.map(|x| &x[..values]);
        x = x.map(|x| &x[values..]);
        Piece { norm, layout: Layout::new(1, norm.num_features(), inner), x: first_x, y: first }
    })
}

/// A part of a batch, and what normalises it.
pub(crate) struct Piece<'a, T> {
    norm: &'a Inference,
    layout: Layout,
    /// None: in place.
    x: Option<&'a [T]>,
    y: &'a mut [T],
}

impl<T: Element> Piece<'_, T> {
    pub(crate) fn run(self) -> batchnorm::Result<()> {
        let y = BatchMut::new(self.y, self.layout)?;
        match self.x {
            Some(x) => self.norm.forward(Batch::new(x, self.layout)?, y),
            None => self.norm.forward_in_place(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchnorm::BatchNorm;

    fn layer(features: Range<usize>) -> batchnorm::Result<Inference> {
        let of = |by: f64| features.clone().map(|at| (at as f64 + 1.0) * by).collect::<Vec<_>>();
        let mut bn = BatchNorm::onnx(features.len());
        bn.set_weight(&of(0.3))?;
        bn.set_bias(&of(-0.7))?;
        bn.set_running_mean(&of(0.01))?;
        bn.set_running_var(&of(0.1))?;
        bn.try_to_inference()
    }

    /// The pieces cover each value once, and their output is that of the whole batch.
    #[test]
    fn pieces_are_the_whole() -> batchnorm::Result<()> {
        let shapes = [
            (0, 3, 4, 1),
            (6, 5, 1, 1),
            (5, 0, 7, 1),
            (1, 64, 56 * 56, 16),
            (1, 17, 9001, 9),
            (2, 64, 56 * 56, 32),
            (8, 64, 28 * 28, 8),
            (100_000, 7, 1, 22),
            (1, 400_000, 1, 16),
            (3, 1, 200_000, 3),
            (1, 1, 600_000, 1),
        ];
        for (outer, features, inner, pieces) in shapes {
            let layout = Layout::new(outer, features, inner);
            let x: Vec<f32> = (0..outer * features * inner).map(|at| (at * 7919 % 1009) as f32 * 0.01).collect();
            let frozen = Frozen::new(features, layer)?;
            let [mut expected, mut y, mut in_place] = [vec![0.0; x.len()], vec![f32::NAN; x.len()], x.clone()];
            layer(0..features)?.forward(Batch::new(&x, layout)?, BatchMut::new(&mut expected, layout)?)?;
            let cut = frozen.cut(layout, Some(&x), &mut y);
            assert_eq!(cut.len(), pieces, "{layout}");
            cut.into_iter().try_for_each(Piece::run)?;
            frozen.cut(layout, None, &mut in_place).into_iter().try_for_each(Piece::run)?;
            assert!(y == expected && in_place == expected, "{layout}");
        }
        Ok(())
    }
}
