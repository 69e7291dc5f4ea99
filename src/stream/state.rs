//! The state that both types of streams share.

use crate::error::{check_features, check_same};
use crate::kernels::stream::{BLOCK_FEATURES, Block};
use crate::spec::{RowWeights, Running, same_bits};
use crate::{Batch, BatchMut, Element, Error, Layout, Path, Result, Standardize};
use alloc::vec::Vec;

/// The features of a stream and the weights of its rows.
#[derive(Clone)]
pub(super) struct State {
    pub(super) path: Path,
    row_path: Path,
    pub(super) features: usize,
    pub(super) weights: RowWeights,
    pub(super) blocks: Vec<Block>,
}

impl State {
    pub(super) fn new(features: usize, weights: RowWeights) -> Result<Self> {
        let mut blocks = Vec::new();
        let needed = features.div_ceil(BLOCK_FEATURES);
        blocks.try_reserve_exact(needed).map_err(|_| Error::TooManyFeatures { given: features })?;
        blocks.resize(needed, Block::default());
        let path = Path::Auto;
        Ok(State { path, row_path: path.of_single_rows(features), features, weights, blocks })
    }

    pub(super) fn set_path(&mut self, path: Path) {
        (self.path, self.row_path) = (path, path.of_single_rows(self.features));
    }

    pub(super) fn reset(&mut self) {
        self.weights.reset();
        self.blocks.fill(Block::default());
    }

    #[inline]
    pub(super) fn push<T: Element>(&mut self, row: &[T]) -> Result<()> {
        self.check("the row has", row.len())?;
        let row = Batch::checked(row, Layout::nc(1, self.features));
        self.row_path.push_rows(&mut self.weights, &mut self.blocks, row);
        Ok(())
    }

    pub(super) fn push_rows<T: Element>(&mut self, x: Batch<'_, T>) -> Result<()> {
        self.check_rows(x.layout())?;
        self.path.push_rows(&mut self.weights, &mut self.blocks, x);
        Ok(())
    }

    pub(super) fn normalize<T: Element>(&self, row: &[T], out: &mut [T], options: &Standardize) -> Result<()> {
        self.check("the row has", row.len())?;
        self.check("the output has", out.len())?;
        self.row_path.standardize(&self.blocks, self.scale(options), row, out);
        Ok(())
    }

    pub(super) fn normalize_rows<T: Element>(
        &self,
        x: Batch<'_, T>,
        mut y: BatchMut<'_, T>,
        options: &Standardize,
    ) -> Result<()> {
        self.check_rows(x.layout())?;
        check_same(x.layout(), y.layout())?;
        let (scale, features) = (self.scale(options), self.features);
        let (x_stride, y_stride) = (x.layout().outer_stride().max(1), y.layout().outer_stride().max(1));
        for (x, y) in x.data().chunks(x_stride).zip(y.data_mut().chunks_mut(y_stride)) {
            self.row_path.standardize(&self.blocks, scale, &x[..features], &mut y[..features]);
        }
        Ok(())
    }

    /// Returns by what m2 is multiplied, what is added to the product, and the largest size of a result.
    fn scale(&self, options: &Standardize) -> (f64, f64, f64) {
        let degrees_of_freedom = self.weights.degrees_of_freedom(options.ddof());
        if self.weights.count() < 2 || degrees_of_freedom <= 0.0 {
            (0.0, 1.0 + options.eps(), options.clip())
        } else {
            (1.0 / degrees_of_freedom, options.eps(), options.clip())
        }
    }

    /// Returns the state of a feature. Panics if there are not so many.
    pub(super) fn feature(&self, feature: usize) -> Running<f64> {
        assert!(feature < self.features, "feature {feature} of a stream of {} features", self.features);
        self.blocks[feature / BLOCK_FEATURES].feature(feature % BLOCK_FEATURES)
    }

    pub(super) fn set_feature(&mut self, feature: usize, to: Running<f64>) {
        self.blocks[feature / BLOCK_FEATURES].set_feature(feature % BLOCK_FEATURES, to);
    }

    pub(super) fn mean(&self, feature: usize) -> f64 {
        let running = self.feature(feature);
        if self.weights.count() == 0 { f64::NAN } else { running.moments().mean.high }
    }

    pub(super) fn variance(&self, feature: usize, ddof: f64) -> f64 {
        let running = self.feature(feature);
        match self.weights.count() {
            0 => f64::NAN,
            _ => crate::spec::scalar::variance(running.moments().m2, self.weights.degrees_of_freedom(ddof)),
        }
    }

    /// Writes one number per feature.
    pub(super) fn write<T: Element>(&self, out: &mut [T], number: impl Fn(usize) -> f64) -> Result<()> {
        self.check("the output has", out.len())?;
        for (feature, out) in out.iter_mut().enumerate() {
            *out = T::from_f64(number(feature));
        }
        Ok(())
    }

    pub(super) fn check(&self, given_by: &'static str, given: usize) -> Result<()> {
        check_features(("the stream has", self.features), (given_by, given))
    }

    fn check_rows(&self, layout: Layout) -> Result<()> {
        self.check("the batch has", layout.features())?;
        if layout.inner() == 1 {
            return Ok(());
        }
        Err(Error::LayoutMismatch { input: layout, output: Layout::nc(layout.outer(), self.features) })
    }
}

/// Compares the weights and every word of every feature bit for bit, except that any NaN equals any other NaN.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let words = |state: &State, feature| {
            let Running { shift, offset, offset_low, m2, m2_low } = state.feature(feature);
            [shift, offset, offset_low, m2, m2_low]
        };
        let same = |feature| same_bits(&words(self, feature), &words(other, feature));
        self.features == other.features && self.weights == other.weights && (0..self.features).all(same)
    }
}
