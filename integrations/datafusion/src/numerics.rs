//! The error bounds, the argument for them, the limits, and what becomes of NaN and infinities. (Documentation only.)
//!
//! # Bounds
//! With `u = 2^-53`, for finite values in any order, up to 2^32 of them, in any number of partitions:
//!
//! | | column | variance, relative error | mean: half a unit in its last place + |
//! |---|---|---|---|
//! | without `GROUP BY` | f64 | 4 units in the last place | 2 u standard deviations |
//! | without `GROUP BY` | f32 | 4.6e-13 | 3.9e-14 standard deviations |
//! | with `GROUP BY`, windows | either | 1e-12 | 1e-13 standard deviations |
//!
//! The standard deviation has half the relative error of the variance, and a rounding. Integers and decimals are cast to
//! f64 by DataFusion first: what that rounds is not counted here. The bounds hold for the worst of all columns. Observed
//! errors are a small part of them: `cargo test --release -- --nocapture keep` prints those of numerically difficult
//! columns.
//!
//! # Without `GROUP BY`
//! Columns go through [`batchnorm::Accumulator`], and [`batchnorm::numerics`] has its bounds and their proofs. On one
//! partition the result has the bits of one call of [`batchnorm::moments()`] for the whole column, whatever the size of
//! the batches. With several partitions, DataFusion decides which rows each of them reads: the result is as accurate,
//! but its last bits may differ from run to run.
//!
//! # With `GROUP BY`
//! The state of a group is `count`, a shift, and the sums `S1` of `d = x - shift` and `S2` of `d^2`. Values are added to
//! the sums of a block in plain f64; when `count` is a multiple of 16, the block is added to sums in two words, with
//! every rounding error. Then `mean = shift + S1 / n` and `m2 = S2 - S1^2 / n`.
//! (256 rows or more of one group in a row go through the crate's kernel, and its result is merged.)
//!
//! *Distance of the shift.* Rounding in `S2` weighs `kappa = S2 / m2` in `m2`. At all times, `kappa <= 16`:
//!
//! - The shift is the first value. Let it be `D` from the mean. The others then make `m2 >= D^2 n / (n - 1)`, so
//!   `S2 = m2 + n D^2 <= n m2`: up to the end of the first block, `kappa <= n <= 16`.
//! - At the end of a block and after a merge, the shift moves to the mean if `kappa > 4`. The f64 that is nearest to the
//!   mean is at least as near as the nearest value, which is within a standard deviation: `kappa <= 2` then.
//! - In between, `m` values follow `n` values. By the inequality of Cauchy and Schwarz, `kappa - 1` becomes at most
//!   `(kappa - 1) (n + m) / n + m / n`. From the end of a block on, with `m <= 16 <= n`, that is at most 7. After a merge
//!   the next block can end at `n + m = 16`. If the shift is still the first value, `kappa <= 16` as above. Otherwise
//!   `n >= 4`, or `n >= 2` and the shift has just moved: at most 15.
//!
//! *Blocks.* A deviation has an error of `u`, its square another one, and a value goes through at most 15 additions of
//! its block. So `S1` is off by at most `16 u` times the sum of `|d|`, `S2` by at most `18 u S2`, and `m2` by at most
//! `18 u S2 + 2 (|S1| / n) 16 u sum |d|`. With `S1^2 / n = S2 - m2` and `(sum |d|)^2 <= n S2`, that is
//! `(18 kappa + 32 sqrt(kappa (kappa - 1))) u m2`, at most `784 u m2`; the mean is off by at most `16 u sqrt(kappa)`, or
//! `64 u`, standard deviations. Sums of blocks keep all errors but those of the low words, below `(n / 16)^2 u^2 S2`. The
//! shift moves in arithmetic of two words.
//!
//! *Reading.* A partial state is read off the sums in plain f64, where `m2` is at least a 16th of `S2`: another `93 u`
//! of `m2`, and `12 u` standard deviations.
//!
//! *Merging.* A partial state counts as `count` values at its mean, and its own m2: `S1 += count * distance`,
//! `S2 += count * distance^2 + m2`, at the shift of the larger part. Each term is off by at most `11 u` of itself; the
//! additions are compensated. Since the shift last moved, the terms make up at most `S2`, and `S2 <= 31 m2` before it
//! moves again, which takes more than four times as many values, with an m2 that has grown: all terms together are below
//! `155 m2` for 2^32 values. So one level of merging adds at most `1705 u` of m2 (and `62 u` standard deviations to the
//! mean).
//!
//! While a group stays below 16 values, partial states are added to its block instead. Their terms are off by at most
//! `4 u` and `9 u` of themselves, and go through at most 15 additions: `(24 kappa + 38 sqrt(kappa (kappa - 1))) u m2`, at
//! most `973 u m2`, and `76 u` standard deviations. `kappa` is still at most 16, because it does not depend on how values
//! are added. If the first state has one value, that is the shift, as above. If it has `k >= 2`, the shift is the f64
//! nearest to their mean, off by at most their standard deviation: `e`, with `k e^2` at most their m2. Let `D` be the
//! distance of their mean from that of all `n` values. Then `m2 >= k e^2 + D^2 k n / (n - k)`, and by the inequality of
//! Cauchy and Schwarz `S2 = m2 + n (D + e)^2 <= m2 + (2 n - k) m2 / k`: `kappa <= 2 n / k <= n`.
//!
//! A group of 16 values never becomes smaller, so the values of a partial state go through blocks for some levels, and
//! are merged from the last of these on: with `j` levels in blocks, `973 j + 1705 (4 - j) u` at most, and most for
//! `j = 1`. So all levels add at most `973 u` once and `1705 u` three times; likewise to the mean `76 u` once and `62 u`
//! three times.
//!
//! *Total.* DataFusion merges once or twice, Ballista up to three times. Each level reads partial states (`93 u`, and
//! `12 u` for the mean), and the errors of the means that it merges add as much of m2 as they are of the standard
//! deviation, by the same inequality. These means are off by `64 + 12 = 76 u` at the first level, by
//! `76 + 76 + 62 + 12 = 226 u` at the second and `226 + 62 + 12 = 300 u` at the third, and the result by `374 u < 1e-13`.
//! So m2 is off by at most `784 + 93 + 973 + 3 (1705 + 93) + 76 + 226 + 300 = 7846 u < 1e-12`.
//!
//! # Windows
//! A row that leaves a window is not subtracted from anything: see `src/window.rs`. Each frame has the bounds of a group
//! of its rows.
//!
//! # Limits
//! In groups and windows, variances below 1e-289 lose digits as f64 itself does. More than 2^53 values in one group are
//! counted right, but enter the arithmetic rounded; more than 2^63 are an error.
//!
//! # Values that are not finite
//! They affect only their own group, and in windows only the frames that contain them:
//!
//! | rows have | mean | m2, variance, standard deviation |
//! |---|---|---|
//! | a NaN, or infinities of both signs | NaN | NaN |
//! | infinities of one sign | that infinity | NaN |
//! | finite values, m2 past `f64::MAX` | right | infinite |
