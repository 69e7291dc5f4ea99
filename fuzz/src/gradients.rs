//! What the backward pass of a column must give: its exact gradients, and the bounds of its errors.

use std::collections::BTreeSet;

use batchnorm::{Batch, BatchMut, BatchNorm, Layout, Precision, moments};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, Zero};

use crate::bits;
use crate::exact::Column;
use crate::oracle::{error_in, exact_gradients, nearest, rational, root, ulp_f32};
use crate::values::FromBits;

/// The unit roundoff of f64.
const U: f64 = 1.0 / (1u64 << 53) as f64;

/// The errors allowed, for f32 and f64 values: see tests/backward_accuracy.rs, which has them from the documentation.
struct Bounds {
    /// Of the sum of `dy`: a factor of that of `|dy|`.
    sum: f64,
    /// Of the sum of `dy * (x - mean)`: a factor of that of `|dy * (x - mean)|`.
    products: f64,
    /// Of the mean, in standard deviations.
    mean_sd: f64,
    /// Of `1 / sqrt(variance + eps)`, relative.
    inverse: f64,
    /// Of `dx` in f64: a factor of its three terms.
    inputs: f64,
}

/// The errors allowed for `dx` in f32: factors of `|dy - sum(dy) / n|` and `|(x - mean) * slope|`, both times the scale,
/// and of `|dx|`.
const SINGLE_BOUNDS: [f64; 3] = [
    2.001 * U32, // GRADIENT_SINGLE_DY
    4.001 * U32, // GRADIENT_SINGLE_X
    3.001 * U32, // GRADIENT_SINGLE_DX
];

/// The unit roundoff of f32.
const U32: f64 = 1.0 / (1u64 << 24) as f64;

const F32_BOUNDS: Bounds = Bounds {
    sum: 128.0 * U,      // GRADIENT_SUM_F32
    products: 256.0 * U, // GRADIENT_PRODUCTS_F32
    mean_sd: 3.9e-14,
    inverse: 2.4e-13,
    inputs: 7e-13, // GRADIENT_INPUT_F32
};

const F64_BOUNDS: Bounds = Bounds {
    sum: 0.01 * U,     // GRADIENT_SUM_F64
    products: 3.0 * U, // GRADIENT_PRODUCTS_F64
    mean_sd: 2.0 * U,
    inverse: 8.0 * U,
    inputs: 28.0 * U, // GRADIENT_INPUT_F64
};

/// Values of `dy` and `x` that occur together, and how often.
pub struct Pairs<'a> {
    pub dy: &'a [f64],
    pub x: &'a [f64],
    pub times: usize,
}

/// Values for which nothing underflows or overflows on the way.
const SIZES: std::ops::Range<f64> = 1e-60..1e60;

/// Gradients below this have lost digits, and those above its inverse may have overflowed on the way.
const LEAST: f64 = 1e-280;

/// Most values of a feature whose gradients are compared.
const MOST_INPUTS: usize = 6;

/// Exact sums of a column.
struct Sums {
    dy: BigRational,
    products: BigRational,
    magnitude: f64,
    magnitude_of_products: f64,
}

impl Sums {
    fn of(pairs: &[Pairs<'_>], mean: &BigRational) -> Self {
        let zero = BigRational::zero;
        let mut all = Sums { dy: zero(), products: zero(), magnitude: 0.0, magnitude_of_products: 0.0 };
        for Pairs { dy, x, times } in pairs.iter().filter(|pairs| !pairs.dy.is_empty()) {
            let sums = exact_gradients(dy, x, mean);
            let repeated = BigInt::from(*times);
            all.dy += sums.sum_dy * &repeated;
            all.products += sums.products * &repeated;
            all.magnitude += sums.magnitude * *times as f64;
            all.magnitude_of_products += sums.magnitude_of_products * *times as f64;
        }
        all
    }
}

/// Checks the gradients of a batch whose features all have the same column. `layer` has its weight and `eps`.
///
/// # Panics
/// If they are not right.
pub fn check<T: FromBits>(
    name: &str,
    exact: &Column,
    pairs: &[Pairs<'_>],
    [data, dy]: [&[T]; 2],
    layout: Layout,
    layer: [f64; 2],
) {
    let values = pairs.iter().flat_map(|pairs| pairs.dy.iter().chain(pairs.x)).map(|value| value.abs());
    if !values.into_iter().all(|size| size == 0.0 || SIZES.contains(&size)) {
        return;
    }
    let [weight, eps] = layer;
    let (features, bounds) = (layout.features(), if T::SIZE == 4 { F32_BOUNDS } else { F64_BOUNDS });
    let mut bn = BatchNorm::new(features).with_eps(eps).expect("an eps");
    bn.set_weight(&vec![weight; features]).expect("weights");
    let [x, dy_batch] = [data, dy].map(|data| Batch::new(data, layout).expect("a batch"));
    let (m, mut dx) = (moments(x), dy.to_vec());
    let sums = bn.backward_sums(&m, x, dy_batch).expect("sums");
    let mut run = |precision| {
        let bn = bn.clone().with_precision(precision);
        let dx_batch = BatchMut::new(&mut dx, layout).expect("dx");
        let gradients = bn.backward_train(&m, x, dy_batch, dx_batch).expect("gradients");
        (gradients, dx.clone())
    };
    let [(gradients, dx), (_, single)] = [Precision::Double, Precision::Single].map(&mut run);

    let expected = Sums::of(pairs, &exact.mean);
    let variance = exact.variance() + rational(eps);
    let column = Checked { name, exact, bounds, inverse: rational(1.0) / root(&variance), variance, weight };
    let mut seen = BTreeSet::new();
    for feature in 0..features {
        let given = [sums.sum_dy()[feature], sums.sum_dy_xmu()[feature], gradients.weight()[feature]];
        if seen.insert(given.map(bits)) {
            column.check_sums(&expected, given);
        }
    }
    let last = |values: &[T]| {
        let planes = values.chunks_exact(layout.inner()).skip(features - 1).step_by(features);
        planes.flatten().map(|value| value.to_f64()).collect::<Vec<f64>>()
    };
    for (dx, precision) in [(dx, Precision::Double), (single, Precision::Single)] {
        column.check_inputs::<T>(&expected, layout.count(), [&last(data), &last(dy), &last(&dx)], precision);
    }
}

/// A column and how its layer scales it.
struct Checked<'a> {
    name: &'a str,
    exact: &'a Column,
    bounds: Bounds,
    /// The variance and `eps`.
    variance: BigRational,
    inverse: BigRational,
    weight: f64,
}

impl Checked<'_> {
    /// Returns the allowed errors of both sums.
    fn allowed(&self, sums: &Sums) -> [f64; 2] {
        let (sum, products) = (nearest(&sums.dy).abs(), nearest(&sums.products).abs());
        let of_mean = self.bounds.mean_sd * self.exact.sd() * sum;
        [
            self.bounds.sum * sums.magnitude + U * sum,
            self.bounds.products * sums.magnitude_of_products + U * products + of_mean,
        ]
    }

    /// Checks the sums of `dy` and of `dy * (x - mean)`, and the gradient of the weight.
    fn check_sums(&self, sums: &Sums, [sum, products, weight]: [f64; 3]) {
        let name = self.name;
        let [allowed, allowed_products] = self.allowed(sums);
        let error = error_in(sum, &sums.dy, allowed);
        assert!(error <= 1.0, "{name}: sum(dy) {sum:e} is {error} of what is allowed off {:e}", nearest(&sums.dy));
        let (error, near) = (error_in(products, &sums.products, allowed_products), nearest(&sums.products));
        assert!(error <= 1.0, "{name}: sum(dy * (x - mean)) {products:e} is {error} of what is allowed off {near:e}");
        let expected = &sums.products * &self.inverse;
        let allowed = self.bounds.inverse * nearest(&expected).abs() + allowed_products * nearest(&self.inverse);
        let (error, near) = (error_in(weight, &expected, allowed), nearest(&expected));
        assert!(error <= 1.0, "{name}: the weight's gradient {weight:e} is {error} of what is allowed off {near:e}");
    }

    /// Checks the gradients of a feature's first values that differ.
    fn check_inputs<T: FromBits>(&self, sums: &Sums, count: usize, [x, dy, dx]: [&[f64]; 3], precision: Precision) {
        let (n, [allowed_sum, allowed_products]) = (count as f64, self.allowed(sums));
        let mean_dy = &sums.dy / rational(n);
        let slope = &sums.products / (rational(n) * &self.variance);
        let scale = &self.inverse * rational(self.weight);
        let scale_near = nearest(&scale).abs();
        let largest = if T::SIZE == 4 { f64::from(f32::MAX) } else { 1.0 / LEAST };
        let mut seen = BTreeSet::new();
        for at in (0..x.len()).filter(|&at| seen.insert([x[at], dy[at]].map(bits))).take(MOST_INPUTS) {
            let d = rational(x[at]) - &self.exact.mean;
            let through_variance = &d * &slope;
            let expected = (rational(dy[at]) - &mean_dy - &through_variance) * &scale;
            let near = nearest(&expected);
            let parts = dy[at].abs() + nearest(&mean_dy).abs() + nearest(&through_variance).abs();
            // What is scaled may be out of range although the gradient is not.
            let terms = [parts, parts * scale_near, near.abs()];
            if terms.iter().any(|term| *term != 0.0 && !(LEAST..1.0 / LEAST).contains(term)) || near.abs() > largest {
                continue;
            }
            let of_sums = allowed_sum / n + nearest(&d.abs()) * allowed_products / (n * nearest(&self.variance));
            let of_mean = self.bounds.mean_sd * self.exact.sd() * nearest(&slope.abs());
            let in_double =
                if T::SIZE == 4 { 0.5 * ulp_f32(near) } else { 0.0 } + self.bounds.inputs * parts * scale_near;
            let allowed = if T::SIZE == 4 && precision == Precision::Single {
                let [of_dy, of_x, of_dx] = SINGLE_BOUNDS;
                let least = 2f64.powi(-38) * (nearest(&mean_dy).abs() + nearest(&(&slope / &self.inverse)).abs());
                let terms =
                    of_dy * nearest(&(rational(dy[at]) - &mean_dy)).abs() + of_x * nearest(&through_variance).abs();
                // A feature that f32 does not hold is computed in f64.
                ((terms + least) * scale_near + of_dx * near.abs() + 2f64.powi(-149)).max(in_double)
            } else {
                in_double
            };
            let allowed = allowed + (of_sums + of_mean) * scale_near;
            let error = error_in(dx[at], &expected, allowed);
            let (name, x, dy, dx) = (self.name, x[at], dy[at], dx[at]);
            assert!(error <= 1.0, "{name}: dx of {x:e}, {dy:e} is {dx:e}, {error} of what is allowed off {near:e}");
        }
    }
}
