//! The error bounds, the argument for them, the limits, and what becomes of NaN and infinities. (Documentation only.)
//!
//! # Bounds
//! With `u = 2^-53`, for finite values in any order, up to 2^32 of them, in any number of partitions:
//!
//! | | column | variance, relative error | mean: half a unit in its last place + |
//! |---|---|---|---|
//! | without `GROUP BY` | f64 | 4 units in the last place | 2 u standard deviations |
//! | without `GROUP BY` | f32 | 4.6e-13 | 3.9e-14 standard deviations |
//! | with `GROUP BY`, windows | either | 2e-12 | 1e-13 standard deviations |
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
//! the sums of a block in plain f64. When `count` is a multiple of 16, the block is added to sums of two words, which
//! keep the rounding errors of these additions. Then `mean = shift + S1 / n` and `m2 = S2 - S1^2 / n`.
//! (256 rows or more of one group in a row are a *run*: they go through the crate's kernel, and its result is merged.)
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
//!   `kappa <= 8`. A state that is merged has at most as many values as the one that it is merged into: from `kappa <= 16`,
//!   `kappa` becomes at most 31, and the shift moves at once.
//!
//! *Epochs.* An epoch ends when the shift moves. Its errors stay, each relative to the m2 of its end, and m2 never
//! decreases. Let `n` values come before an epoch and `q n` in it. It ends with `(q + 1) n D^2 > 3 m2`, so the mean has
//! moved by `D`, and m2 has grown to at least `m2' >= m2 / (1 - 3 / q)`, with `q > 3`. Whatever the `q` are, 2^32 values
//! have room for so few epochs that the m2 of all their ends add up to less than 5 times that of the last. (The shift is
//! a rounded mean. Where the standard deviation is below 2^8 units of its last place, that can end an epoch sooner. But
//! there deviations from single values are whole numbers of such units, and so small that their squares and the sums of a
//! block are exact. For states that are merged there, this is not proven.)
//!
//! *Blocks.* A deviation has an error of `u`, its square another one, and a value goes through at most 15 additions of
//! its block. So `S1` is off by at most `16 u` times the sum of `|d|`, `S2` by at most `18 u S2`, and `m2` by at most
//! `18 u S2 + 2 (|S1| / n) 16 u sum |d|`. With `S1^2 / n = S2 - m2` and `(sum |d|)^2 <= n S2`, that is
//! `(18 kappa + 32 sqrt(kappa (kappa - 1))) u m2`, at most `784 u m2`, in all epochs `3920 u m2`. The mean is off by at
//! most `16 u sqrt(kappa)`, or `64 u`, standard deviations. What earlier epochs add halves with each, because values
//! become four times as many: `128 u` in all. Sums of two words keep all errors but those of the low words, below
//! `(n / 16)^2 u^2 S2`: `8 u S2` for 2^32 values, in all epochs `640 u m2`.
//!
//! *Reading.* A partial state is read off the sums in plain f64, where `m2` is at least a 16th of `S2`: another `93 u`
//! of `m2`, and `12 u` standard deviations.
//!
//! *Merging.* A partial state counts as `count` values at its mean, and its own m2: `S1 += count * distance`,
//! `S2 += count * distance^2 + m2`, at the shift of the larger part. The sums keep the rounding errors of these
//! additions. The distance is off by at most `3 u` of itself: as if the values lay elsewhere, which changes m2 by at most
//! `2 * 3 u sqrt(kappa) m2` (Cauchy and Schwarz). The roundings of `count` and of the first product are `2 u` of a term of
//! `S1`, and change m2 by at most `4 u sqrt(kappa (kappa - 1)) m2`. With those of the second product and of the sum with
//! m2, they are `4 u` of a term of `S2`. All terms of an epoch are at most its `S2`, and `kappa <= 31`: together at most
//! `(8 kappa + 6 sqrt(kappa)) u m2 <= 282 u m2`, in all epochs `1410 u m2`. The mean is off by at most
//! `5 u sqrt(kappa) <= 28 u` standard deviations, in all epochs `56 u`.
//!
//! Where the part that is merged is the larger one, the other one is read instead, which adds `(6 (kappa - 1) + 3) u` of
//! its m2. The number of values doubles at least. `kappa <= 2` follows, because the smaller part moves the mean of the
//! larger one by no more than its values add to m2; for `kappa = 4` the values must double once more. So 2^32 values have
//! room for `16 * 21 u`, and `93 u` for a group that had just been given single values. The mean is off by `12 u` each
//! time, but counts for less by `sqrt(2)`: `41 u`. So one level of merging adds at most `1410 + 336 + 93 = 1839 u` of m2,
//! and `56 + 41 = 97 u` standard deviations to the mean.
//!
//! While a group stays below 16 values, partial states are added to its block instead. Their terms are off by at most
//! `4 u` and `9 u` of themselves, and go through at most 15 additions: `(24 kappa + 38 sqrt(kappa (kappa - 1))) u m2`, at
//! most `973 u m2`, and `76 u` standard deviations. `kappa` is still at most 16, because it does not depend on how values
//! are added. If the first state has one value, that is the shift, as above. If it has `k >= 2`, the shift is the f64
//! nearest to their mean, off by at most their standard deviation: `e`, with `k e^2` at most their m2. Let `D` be the
//! distance of their mean from that of all `n` values. Then `m2 >= k e^2 + D^2 k n / (n - k)`, and by the inequality of
//! Cauchy and Schwarz `S2 = m2 + n (D + e)^2 <= m2 + (2 n - k) m2 / k`: `kappa <= 2 n / k <= n`.
//!
//! A group of 16 values never becomes smaller. So the values of a state go through blocks for `j` of the levels, and are
//! merged from the last of these on. With three levels that is at most `(973 j + 1839 (4 - j)) u`, or without blocks
//! `3 * 1839 u`: at most `973 u` once and `1839 u` three times; likewise to the mean `76 u` once and `97 u` three times.
//!
//! *Total.* DataFusion merges once or twice, Ballista up to three times. Runs are merged once more, into their group: they
//! have the bounds of the kernel, and of f32 at most `4143 u` of m2 (4.6e-13) and `351 u` standard deviations (3.9e-14),
//! where blocks have `3920 + 640 = 4560 u` and `128 u`. Each level reads partial states, and the errors of the means that
//! it merges add as much of m2 as they are of the standard deviation, by the same inequality. These means are off by
//! `351 u` (runs), `351 + 97 + 12 = 460 u`, `460 + 76 + 97 + 12 = 645 u` and `645 + 97 + 12 = 754 u`, and the result by
//! `863 u < 1e-13`. So m2 is off by at most `4560 + 5 * 93 + 973 + 4 * 1839 + 351 + 460 + 645 + 754 = 15564 u < 2e-12`.
//!
//! # Windows
//! A row that leaves a window is not subtracted from anything: see `src/window.rs`. Each frame has the bounds of a group
//! of its rows.
//!
//! # Limits
//! In groups and windows, variances below 1e-289 lose digits as f64 itself does, and means below 2^-1021 are off by up to
//! half of the smallest number for each level of merging. More than 2^53 values in one group are counted right, but enter
//! the arithmetic rounded; more than 2^63 are an error.
//!
//! # Values that are not finite
//! They affect only their own group, and in windows only the frames that contain them:
//!
//! | rows have | mean | m2, variance, standard deviation |
//! |---|---|---|
//! | a NaN, or infinities of both signs | NaN | NaN |
//! | infinities of one sign | that infinity | NaN |
//! | finite values, m2 past `f64::MAX` | right | infinite |
