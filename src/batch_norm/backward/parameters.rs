//! Computes the parameters of `dx` from moments, sums, weight and `eps`.

use crate::Path;
use crate::batch_norm::parameters::{InSingle, Needed, is_factor, is_normal, scale_fits};
use crate::exec::{InputGradients, OnlyDouble};
use crate::lanes::{Job, Simd};
use crate::spec::fallback::FactoredGradient;
use crate::spec::power_of_two;

/// What the parameters of all features are made of, one value per feature in each array.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: Path,
    pub(super) counts: &'a [u64],
    /// High and low words of the means.
    pub(super) mean: &'a [f64],
    pub(super) mean_low: &'a [f64],
    /// The sums of `dy` and of `dy * (x - mean)`.
    pub(super) sum_dy: &'a [f64],
    pub(super) products: &'a [f64],
    /// `1 / sqrt(variance + eps)`.
    pub(super) inverse_deviation: &'a [f64],
    pub(super) weight: Option<&'a [f64]>,
}

impl<'a> Source<'a> {
    /// Sets the parameters for computing in f64, or those for computing in f32.
    pub(super) fn fill(self, to: &mut InputGradients, needed: Needed) {
        let InputGradients { double, single, only_double, factored } = to;
        let features = self.mean.len();
        only_double.clear();
        factored.clear();
        if needed == Needed::Single {
            return single.set(features, |mut to| {
                if self.path.run(Single { source: self, to: to.each_mut().map(|to| &mut **to) }) {
                    return;
                }
                for feature in 0..features {
                    let of = self.of(feature);
                    if of.is_out_of_range() {
                        factored.push(of.factors(feature));
                    } else if !of.in_single().in_range {
                        only_double.push(OnlyDouble { feature, parameters: of.in_double() });
                    } else {
                        continue;
                    }
                    set(&mut to, feature, SINGLE_IDENTITY);
                }
            });
        }
        double.set(features, |mut to| {
            if self.path.run(Double { source: self, to: to.each_mut().map(|to| &mut **to) }) {
                return;
            }
            for feature in 0..features {
                let of = self.of(feature);
                if of.is_out_of_range() {
                    factored.push(of.factors(feature));
                    set(&mut to, feature, DOUBLE_IDENTITY);
                }
            }
        });
    }

    /// Cuts all arrays to one length, so that a loop over it has no bounds checks.
    #[inline(always)]
    fn cut(self, features: usize) -> Self {
        let cut = |array: &'a [f64]| &array[..features];
        Source {
            path: self.path,
            counts: &self.counts[..features],
            mean: cut(self.mean),
            mean_low: cut(self.mean_low),
            sum_dy: cut(self.sum_dy),
            products: cut(self.products),
            inverse_deviation: cut(self.inverse_deviation),
            weight: self.weight.map(cut),
        }
    }

    #[inline(always)]
    fn of(&self, feature: usize) -> Feature {
        let (count, inverse_deviation) = (self.counts[feature] as f64, self.inverse_deviation[feature]);
        let weight = self.weight.map_or(1.0, |weight| weight[feature]);
        let projection = self.products[feature] * inverse_deviation / count;
        Feature {
            count,
            mean: self.mean[feature],
            mean_low: self.mean_low[feature],
            mean_dy: self.sum_dy[feature] / count,
            projection,
            inverse_deviation,
            weight,
            slope: projection * inverse_deviation,
            scale: inverse_deviation * weight,
        }
    }
}

#[inline(always)]
fn set<C, const P: usize>(to: &mut [&mut [C]; P], feature: usize, parameters: [C; P]) {
    for (to, parameter) in to.iter_mut().zip(parameters) {
        to[feature] = parameter;
    }
}

/// Mean, slope, offset and scale that leave every `dy` as it is.
const DOUBLE_IDENTITY: [f64; 4] = [0.0, 0.0, 0.0, 1.0];

/// The same, with mean and offset as pairs.
const SINGLE_IDENTITY: [f32; 6] = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0];

/// A plain loop, which the compiler vectorises for the instruction set that runs it.
struct Double<'a> {
    source: Source<'a>,
    to: [&'a mut [f64]; 4],
}

impl Job for Double<'_> {
    /// Whether every feature is in range.
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        let features = self.source.mean.len();
        let (source, mut to) = (self.source.cut(features), self.to.map(|to| &mut to[..features]));
        let mut in_range = true;
        for feature in 0..features {
            let of = source.of(feature);
            set(&mut to, feature, of.in_double());
            in_range &= !of.is_out_of_range();
        }
        in_range
    }
}

/// A plain loop, like [`Double`].
struct Single<'a> {
    source: Source<'a>,
    to: [&'a mut [f32]; 6],
}

impl Job for Single<'_> {
    /// Whether every feature is in range.
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        let features = self.source.mean.len();
        let (source, mut to) = (self.source.cut(features), self.to.map(|to| &mut to[..features]));
        let mut in_range = true;
        for feature in 0..features {
            let of = source.of(feature);
            let single = of.in_single();
            set(&mut to, feature, single.words);
            in_range &= single.in_range & !of.is_out_of_range();
        }
        in_range
    }
}

/// What the parameters of one feature are made of.
#[derive(Clone, Copy)]
struct Feature {
    count: f64,
    mean: f64,
    mean_low: f64,
    mean_dy: f64,
    /// `sum(dy * (x - mean)) / (n * sqrt(variance + eps))`: at most the root mean square of `dy`.
    projection: f64,
    inverse_deviation: f64,
    weight: f64,
    slope: f64,
    scale: f64,
}

/// The parameters of a feature, rounded to f32.
struct GradientInSingle {
    words: [f32; 6],
    /// Whether the bounds that [`BatchNorm::backward_train`](crate::BatchNorm::backward_train) states for f32 hold with
    /// these parameters.
    in_range: bool,
}

/// Largest offset for f32, and largest product of a deviation and the slope: `dy`, less one or both of them, overflows
/// in f32 for no finite `dy`.
const LARGEST_TERM: f64 = power_of_two(100);

/// Smallest gradients for f32, as those of the parameters divided by `n`. What underflows before it is multiplied by the
/// scale is less than 2^-38 of them.
const SMALLEST_TERMS: f64 = power_of_two(-110);

impl Feature {
    /// Whether the slope or the scale is no normal f64 although its factors are finite and not 0.
    #[inline(always)]
    fn is_out_of_range(&self) -> bool {
        let fits = |product, factor| is_normal(product) | !is_factor(factor) | !is_factor(self.inverse_deviation);
        !(fits(self.slope, self.projection) & fits(self.scale, self.weight))
    }

    fn factors(&self, feature: usize) -> FactoredGradient {
        let Feature { mean, mean_low, mean_dy, projection, inverse_deviation, weight, .. } = *self;
        FactoredGradient { feature, mean, mean_low, mean_dy, projection, inverse_deviation, weight }
    }

    /// Returns mean, slope, offset and scale. What is left of the mean after rounding it to f64, times the slope, goes
    /// into the offset: it is at most as large as any deviation from the mean.
    #[inline(always)]
    fn in_double(&self) -> [f64; 4] {
        [self.mean, self.slope, self.mean_dy - self.mean_low * self.slope, self.scale]
    }

    /// Rounds mean and offset to two words each. What those of the mean leave over, times the slope, goes into the
    /// offset. What those of the offset leave over is at most 2^-24 of any `dy - offset`, as for the mean.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what this does")]
    fn in_single(&self) -> GradientInSingle {
        let Feature { count, mean, mean_low, mean_dy, projection, slope, scale, .. } = *self;
        let of_mean = InSingle::new(mean, mean_low, slope, mean_dy);
        let [high, low, slope_single, offset_high] = of_mean.words;
        let offset = of_mean.bias;
        // An infinite offset leaves nothing over.
        let rest = if offset.is_finite() { offset - f64::from(offset_high) } else { 0.0 };

        let squared = projection * projection * count;
        let product_fits = squared.is_nan() | (squared <= LARGEST_TERM * LARGEST_TERM);
        let size = mean_dy.abs() + projection.abs();
        let size_fits = (size == 0.0) | size.is_nan() | (size >= SMALLEST_TERMS);
        let in_range = of_mean.in_range & !slope.is_infinite() & scale_fits(scale) & !scale.is_infinite();
        GradientInSingle {
            words: [high, low, slope_single, offset_high, rest as f32, scale as f32],
            in_range: in_range & product_fits & size_fits,
        }
    }
}
