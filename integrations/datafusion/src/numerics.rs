//! The error bounds, the argument for them, the limits, and what becomes of NaN and infinities. (Documentation only.)
//!
//! # Bounds
//! With `u = 2^-53`, for finite values in any order, up to 2^32 of them, in any number of partitions (and for up to 2^28
//! partial states of a group):
//!
//! | | column | variance, relative error | mean: half a unit in its last place + |
//! |---|---|---|---|
//! | without `GROUP BY` | f64 | 4 units in the last place | 2 u standard deviations |
//! | without `GROUP BY` | f32 | 4.6e-13 | 3.9e-14 standard deviations |
//! | with `GROUP BY`, windows | either | 2e-11 | 3e-13 standard deviations |
//! | `mean_accurate` with `GROUP BY` | either | | 2^-18 of such a unit + 4e-14 standard deviations |
//!
//! The standard deviation has half the relative error of the variance, and a rounding. Integers and decimals are cast
//! to f64 by DataFusion first: what that rounds is not counted here. The bounds hold for the worst of all columns.
//! Observed errors are a small part of them (with `GROUP BY` below 1e-14, unless squares come near f64's smallest
//! numbers): `cargo test --release -- --nocapture keep` prints those of numerically difficult columns.
//!
//! # Without `GROUP BY`
//! Columns go through [`batchnorm::Accumulator`], and [`batchnorm::numerics`] has its bounds and their proofs. On one
//! partition the result has the bits of one call of [`batchnorm::moments()`] for the whole column, whatever the size of
//! the batches. With several partitions, DataFusion decides which rows each of them reads: the result is as accurate,
//! but its last bits may differ from run to run.
//!
//! # With `GROUP BY`
//! (`mean_accurate` keeps a simpler state: *Means alone*, below.) The state of a group is `count`, a shift, and the
//! sums `S1` of `d = x - shift` and `S2` of `d^2`. Values are added to the sums of a block in plain f64. When `count`
//! is a multiple of 16, the block is added to sums of two words, which keep the rounding errors of these additions.
//! Then `mean = shift + S1 / n` and `m2 = S2 - S1^2 / n`. (256 rows or more of one group in a row are a *run*: they go
//! through the crate's kernel, and its result is merged.)
//!
//! *Distance of the shift.* A relative error of `S2` is amplified by `kappa = S2 / m2` in `m2`. Whenever a value is added
//! or a state is read, `kappa <= 16`:
//!
//! - The shift is the first value. Let it be `D` from the mean. The others then make `m2 >= D^2 n / (n - 1)`, so
//!   `S2 = m2 + n D^2 <= n m2`: up to the end of the first block, `kappa <= n <= 16`.
//! - At the end of a block and after a merge, the shift moves to the mean if `kappa > 4`. The f64 that is nearest to the
//!   mean is at least as near as the nearest value, which is within a standard deviation: `kappa <= 2` then.
//! - In between, `m` values follow `n` values. By the inequality of Cauchy and Schwarz, `kappa - 1` becomes at most
//!   `(kappa - 1) (n + m) / n + m / n`. From the end of a block on, with `m <= 16 <= n`, that is at most 7, so
//!   `kappa <= 8`. A state that is merged has at most as many values as the one that it is merged into. `kappa` is at
//!   most 15 before, because the first block ends with 16 values, and so at most 30 after; then the shift moves.
//!
//! *Epochs.* An epoch ends when the shift moves, to the mean or to that of a larger state that is merged. Either way the
//! number of values has at least doubled in it: `kappa` needs `m > n` values to grow from 2 to more than 4. So 2^32
//! values have room for 33 epochs. The errors of an epoch are relative to the m2 of its end, and m2 never decreases. (So
//! what follows simply adds up 33 epochs. In fact m2 grows, and most of them count for little.)
//!
//! *Blocks.* A deviation has an error of `u`, its square another one, and a value goes through at most 15 additions of
//! its block. So `S1` is off by at most `16 u` times the sum of `|d|`, `S2` by at most `18 u S2`, and `m2` by at most
//! `18 u S2 + 2 (|S1| / n) 16 u sum |d|`. With `S1^2 / n = S2 - m2` and `(sum |d|)^2 <= n S2`, that is
//! `(18 kappa + 32 sqrt(kappa (kappa - 1))) u m2`: at most `784 u m2` in the first epoch and `384 u m2` in each other
//! one, `784 + 32 * 384 = 13072 u m2` in all. Sums of two words keep all errors but those of adding up the low words.
//! For `k` blocks these are below `k^2 u^2 / 2` of the sums of absolute values, `4 u` for `k = 2^28`:
//! `(4 kappa + 8 sqrt(kappa (kappa - 1))) u m2 <= 92 u m2`, in all epochs `3036 u m2`. The mean of an epoch's values is
//! off by at most `(16 + 4) u sqrt(kappa)` of their standard deviations: `80 u` in the first one, `57 u` in each other
//! one. That moves these values against later ones, which changes m2 by at most as much (`2 sqrt(a b) <= a + b`, for
//! the m2 within the parts and between them): `80 + 32 * 57 = 1904 u m2`. In the mean of all values it counts for less
//! by `sqrt(2)` with each epoch, because values double: at most `274 u` in all. So blocks add at most
//! `13072 + 3036 + 1904 = 18012 u` of m2.
//!
//! *Reading.* A partial state is read off the sums in plain f64, where `m2` is at least a 16th of `S2`: another `93 u`
//! of `m2`, and `12 u` standard deviations.
//!
//! A group with `S2` above 2^960 moves its shift to the mean, and if `m2` is above 2^960, it is read once. Then mean and
//! m2 are kept themselves, and the crate merges each further value.
//!
//! *Merging.* A partial state counts as `count` values at its mean, and its own m2: `S1 += count * distance`,
//! `S2 += count * distance^2 + m2`, at the shift of the larger part. The sums keep the rounding errors of these
//! additions. The distance is off by at most `3 u` of itself: as if the values lay elsewhere, which changes m2 by at
//! most `2 * 3 u sqrt(kappa) m2` (Cauchy and Schwarz). The roundings of `count` and of the first product are `2 u` of a
//! term of `S1`, and change m2 by at most `4 u sqrt(kappa (kappa - 1)) m2`. With those of the second product and of the
//! sum with m2, they are `4 u` of a term of `S2`. All terms of an epoch are at most its `S2`, and `kappa <= 30`:
//! together at most `(8 kappa + 6 sqrt(kappa)) u m2 <= 273 u m2`, in all epochs `9009 u m2`. The mean of these values
//! is off by at most `5 u sqrt(kappa) <= 28 u` standard deviations: as above, another `33 * 28 = 924 u m2`, and `96 u`
//! of the mean of all. Where the state that is merged is the larger part, the other one is read, which happens at most
//! 32 times: `32 * 93 = 2976 u m2`, and `41 u` of the mean. So merging adds at most `9009 + 924 + 2976 = 12909 u` of m2
//! in each level.
//!
//! While a group stays below 16 values, partial states are added to its block instead. Their terms are off by at most
//! `4 u` and `9 u` of themselves, and go through at most 15 additions: `(24 kappa + 38 sqrt(kappa (kappa - 1))) u m2`, at
//! most `973 u m2`, and `76 u` standard deviations, in each of three levels. `kappa` is still at most 16, because it does
//! not depend on how values are added. If the first state has one value, that is the shift, as above. If it has `k >= 2`,
//! the shift is the f64 nearest to their mean, off by at most their standard deviation: `e`, with `k e^2` at most their
//! m2. Let `D` be the distance of their mean from that of all `n` values. Then `m2 >= k e^2 + D^2 k n / (n - k)`, and by
//! the inequality of Cauchy and Schwarz `S2 = m2 + n (D + e)^2 <= m2 + (2 n - k) m2 / k`: `kappa <= 2 n / k <= n`.
//!
//! *Total.* DataFusion merges once or twice, Ballista up to three times. Runs are merged into their group, which is a
//! level of its own. They have the bounds of the kernel, of f32 `4144 u` of m2 (4.6e-13) and `352 u` standard
//! deviations (3.9e-14). Rows that the engine did not aggregate are added to blocks in any level. So each of the four
//! levels has blocks, merging and a reading: at most `18012 + 12909 + 93 = 31014 u` of m2, and
//! `274 + 96 + 41 + 12 = 423 u` of the mean. The means are off by at most `352 u` (runs), then `352 + 423 = 775 u`,
//! `775 + 76 + 423 = 1274 u`, `1773 u` and `2272 u < 3e-13`. Those that are merged add as much of m2 as they are of the
//! standard deviation, by the same inequality as above. So m2 is off by at most
//! `4 * 31014 + 4144 + 3 * 973 + 352 + 775 + 1274 + 1773 = 135293 u < 2e-11`.
//!
//! *Means alone.* `mean_accurate` does not need squares. It adds the values themselves to a sum of two words, without a
//! shift. To add a value is off by at most `2 u^2` of the sum of absolute values where low words are added, and as much
//! where the words are made to fit together again. A state is the mean in two words: to divide, to multiply and to add
//! are off by at most `3 u^2` each, and the third word of a run's mean, at most `4 u^2`, is dropped. So 2^32 values,
//! and 2^28 states in each of three levels, make less than `2^35 u^2 = 2^-71` of the mean of absolute values, which is
//! at most `|mean|` and a standard deviation: 2^-18 of a unit in the last place of the mean. Runs of f32 have `352 u`
//! standard deviations. Sums above 2^960 are kept multiplied by 2^-64, which drops digits of small values, where they
//! do not matter.
//!
//! # Windows
//! A row that leaves a window is not subtracted from anything: see `src/window.rs`. Each frame has the bounds of a group
//! of its rows.
//!
//! # Limits
//! In groups and windows, variances below 1e-289 lose digits as f64 itself does, and means below 2^-1000 are off by up to
//! half of the smallest number for each level of merging. More than 2^53 values in one group are counted right, but enter
//! the arithmetic rounded; more than 2^63 (2^62 for `mean_accurate`) are an error.
//!
//! # Values that are not finite
//! They affect only their own group, and in windows only the frames that contain them:
//!
//! | rows have | mean | m2, variance, standard deviation |
//! |---|---|---|
//! | a NaN, or infinities of both signs | NaN | NaN |
//! | infinities of one sign | that infinity | NaN |
//! | finite values, m2 past `f64::MAX` | right | infinite |
