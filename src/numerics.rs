//! The algorithms, their error bounds, their limits, and what becomes of NaN and infinities. (Documentation only.)
//!
//! # The canonical order
//! The layout alone determines the order of all floating-point operations. The private module `spec::order` defines it,
//! and `spec::scalar`, the scalar path, is written to be read with it. In short:
//!
//! - A batch is cut along its outer axis into chunks. A chunk has 512 rows of at least 64 columns (narrow batches put
//!   several outer blocks into one row); or, where `inner >= 32`, whole planes that make 32,768 values per feature
//!   (longer planes are cut), read in the order in which they lie.
//! - In a chunk, each feature has a *shift* near its mean, from a sample in the middle. Accumulators sum the deviations
//!   `d = x - shift` and their squares, eight rows at a time, and are reduced in halves. Then `mean = shift + S1 / n`
//!   and `m2 = S2 - S1^2 / n`: a corrected two-pass algorithm in one pass over memory. f32 features whose sample mean
//!   lies within two standard deviations of 0 have a shift of 0: nothing needs to be subtracted, and all squares are
//!   exact. Sums of f32 data are f64. For f64 data they are compensated: each has a second word for its rounding
//!   errors.
//! - Chunks are merged by the formula of Chan, Golub & LeVeque (1983) in a binary tree whose shape depends on their
//!   number alone. There m2 is an unevaluated sum of two f64 (it has two *words*), the mean one of three.
//!
//! Lanes run across accumulators, and threads take subtrees or features: neither can reorder anything. Multiplication
//! and addition are fused only where the product is exact, so that fusing changes nothing. Missing values at ragged
//! edges count as deviations of 0.
//!
//! # Streams
//! When rows arrive one by one, no shift near the mean is known in advance, so Welford's recurrence (1962) is the
//! algorithm: `spec::welford` is its scalar path. Both of its sums are compensated, and the mean is a distance from a
//! shift that moves to the mean whenever the number of rows is a power of two. So the result depends on the sequence of
//! rows alone, not on lanes, threads or the split into calls. [`Ewm`] is the same recurrence with other weights.
//!
//! # Error bounds
//! With `u = 2^-53`, for finite data of any distribution and order, and up to 2^32 values per feature:
//!
//! | what | bound |
//! |---|---|
//! | variance, f64 data | 4 units in the last place <!-- VARIANCE_ULP --> |
//! | mean, f64 data | half a unit in its last place + 2 u standard deviations <!-- MEAN_SD --> |
//! | variance, f32 data | a relative error of 4.6e-13 <!-- M2_F32_RELATIVE --> before it is rounded |
//! | mean, f32 data | 3.9e-14 standard deviations <!-- MEAN_F32_SD --> before it is rounded |
//! | variance, [`Welford`] | 106 u <!-- STREAM_VARIANCE --> of itself |
//! | mean, [`Welford`] | half a unit in its last place + 11 u <!-- STREAM_MEAN_SD --> standard deviations |
//! | mean, [`Ewm`], alpha up to 1/2 | half a unit in its last place + 20 u <!-- EWM_MEAN_SD --> standard deviations |
//! | normalised f64, training | 9.5 u <!-- OUTPUT_F64 --> of `y - bias` + 1.5 u <!-- OUTPUT_F64_WEIGHT --> of the weight + u of the bias + u of `y` |
//! | normalised f32, [`Precision::Single`] | 4.001 <!-- OUTPUT_SINGLE --> * 2^-24 of `y - bias` + 3.9e-14 <!-- OUTPUT_F32_WEIGHT --> of the weight + 1.001 <!-- OUTPUT_SINGLE_BIAS --> * 2^-24 of the bias + 2^-24 of `y` + 2^-148 |
//! | normalised f32, [`Precision::Double`], training | 2.3e-13 <!-- OUTPUT_F32 --> of `y - bias` + 3.9e-14 <!-- OUTPUT_F32_WEIGHT --> of the weight + 2 u <!-- OUTPUT_F32_BIAS --> of the bias, then one rounding to f32 |
//! | normalised f64, evaluation | 5.6 u <!-- OUTPUT_GIVEN --> of `y - bias` + u of `y` (f32 in [`Precision::Double`]: then one rounding to f32) |
//!
//! Every step of the bounds in this table is machine-checked (Gappa), and what needs induction is derived from these
//! proofs: `tests/proofs/README.md`. `.ci/proofs` runs them and compares the numbers here with those that are proven.
//! The ideas:
//!
//! - *Condition of a chunk.* Rounding errors of the sums are amplified by `kappa = S2 / m2` in m2. With the shift from
//!   a sample, kappa is about 1.1 for values in random order. If it exceeds 16 (2.2 for f64 data), the chunk is
//!   computed again about the mean just found, and if that does not help, by the fallback: the condition is checked,
//!   not assumed.
//! - *f32 data.* Each value goes through at most 84 additions, most of them of a few terms. Squares of f32 deviations
//!   lose digits only far behind those of the result.
//! - *f64 data.* The sums are compensated, and the part of each square that f64 rounds away is summed, too. What is
//!   left is the rounding of each deviation, by at most `u |d|`. So the result is exact for values that differ from the
//!   given ones by so much: over all chunks at once, by Cauchy and Schwarz, m2 is within `2 sqrt(2.2) u` of itself.
//! - *Merging.* A mean of three words keeps merges from rounding even where the standard deviation is smaller than the
//!   mean's last place; two words lose up to u standard deviations in each level, and these errors line up. Welford's
//!   recurrence is a tree of depth `n` with means of one word: at 1e12 + U(0, 1) it loses nine digits.
//! - *Streams.* An error of the mean shrinks with each further row, by the factor `1 - 1/n`. The shift keeps what is
//!   rounded as small as the data are spread, and compensation keeps the number of rows out of the bound. (Textbook
//!   forms lose nine digits at mean/sd = 1e12.) The bounds hold for any data, so they are far above what is observed
//!   (`tests/stream_accuracy.rs` prints it).
//! - *Normalised values*, `y = (x - mean) * scale + bias`, are computed with the difference first, so that nothing
//!   cancels at a large mean. What an f64 mean leaves over, times the scale, goes into the bias; it is no larger than
//!   any `x - mean`, because each `x` is an f64, too. A scale outside of f64's range is applied by its two factors.
//! - *Normalised f32 values*, `y = ((x - mean) - mean_low) * scale + bias`, are computed in f32, where four roundings
//!   and that of the bias count; what the pair leaves over of the mean goes into the bias. [`Precision::Double`]
//!   computes them as f64 values, and rounds once. Features that f32 cannot hold are computed in f64 in any case. Their
//!   own parameters decide, so that no feature depends on the others: a mean above 2^102, a bias above 2^100, a scale
//!   that is not 0 and lies outside of 2^-125 to 2^125, and a mean that f32's smallest numbers do not hold well enough
//!   for its scale.
//!
//! *Gradients* have their bounds beside [`BatchNorm::backward_train`]. Those of `dx` in f32 are proven by Gappa, the
//! others are not: `tests/backward_accuracy.rs` checks them against exact arithmetic. The sums of `dy` and of
//! `dy * (x - mean)` run in the canonical order, about the batch's own mean, which is known by then. So they need
//! neither a shift nor a condition, and are relative to the sums of absolute values: nothing helps where the gradients
//! themselves cancel. What the low word of the mean adds to the second sum, `mean_low * sum(dy)`, is subtracted at the
//! end of each chunk. So the gradient of the weight does not lose digits at a large mean. In f32, `dx` has the means of
//! `x` and of `dy` as pairs, both subtracted first: what `dy` has in common with its mean costs no digits either.
//!
//! *Residuals and activations* have the bits of the separate steps. A residual adds one rounding, that of the sum, to
//! the bounds of a normalised value; a ReLU adds none, and never increases an error.
//!
//! *Folding* adds large numbers that cancel: [`Inference::fold_into_linear`] and its siblings say how much that costs.
//!
//! `tests/oracle.rs`, `tests/merges.rs`, `tests/closed_forms.rs` and `tests/nist.rs` check this against exact
//! arithmetic, closed forms and NIST's reference data. `cargo run --release --example accuracy` prints the errors
//! beside those of other methods.
//!
//! # Limits
//! - Variances below 1e-290 lose digits as f64 itself does. Means below 2^-1021, whose last place is the smallest
//!   subnormal number, are off by up to half of that for each level of the tree.
//! - A constant feature becomes exactly its bias where the weight is finite. An infinite or NaN weight makes it NaN.
//! - A chunk whose shift is far from the mean of a feature (a step with few rows on one side, values that drift) is
//!   read twice. One that holds NaN, infinities or overflows takes a slower scalar path for that feature.
//! - The bits may change between minor versions of the crate, when the order is improved; never between machines.
//! - A NaN is a NaN: payloads and signs are not part of the promise.
//!
//! # Poisoned input
//! Values that are not finite, or whose squares overflow, affect only their own feature:
//!
//! | a feature has | mean | m2, variance | training: outputs | running_mean, running_var |
//! |---|---|---|---|---|
//! | a NaN, or infinities of both signs | NaN | NaN | NaN | NaN, NaN |
//! | infinities of one sign | that infinity | NaN | NaN | that infinity, NaN |
//! | finite f64 values, m2 past `f64::MAX` | right | infinite | the bias (NaN where `x - mean` overflows) | right, infinite |
//!
//! (Running statistics with a momentum above 0: 0 times an infinity is NaN, as in PyTorch, and a negative momentum
//! changes its sign.) Accumulators, merged moments and streams behave in the same way. (But in a stream, the mean is
//! infinite where values are so far apart that their difference overflows.) With finite running statistics, evaluation
//! treats each value independently: a NaN gives NaN, an infinity gives the infinity of its sign times the weight's (NaN
//! if the weight or `running_var + eps` is 0). All this holds in either [`Precision`]; `tests/poisoned.rs` and
//! `tests/single.rs` test it.
//!
//! [`BatchNorm::backward_train`]: crate::BatchNorm::backward_train
//! [`Ewm`]: crate::Ewm
//! [`Inference::fold_into_linear`]: crate::Inference::fold_into_linear
//! [`Precision`]: crate::Precision
//! [`Precision::Double`]: crate::Precision::Double
//! [`Precision::Single`]: crate::Precision::Single
//! [`Welford`]: crate::Welford
