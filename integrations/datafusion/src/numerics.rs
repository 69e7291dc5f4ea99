//! The error bounds, the argument for them, the limits, and what becomes of NaN and infinities. (Documentation only.)
//!
//! # Bounds
//! With `u = 2^-53`, for finite values in any order, up to 2^32 of them, in any number of partial states that are merged
//! in any order:
//!
//! | | column | variance, relative error | mean: half a unit in its last place + |
//! |---|---|---|---|
//! | without `GROUP BY` | f64 | 4 units in the last place | 2 u standard deviations |
//! | with `GROUP BY`, windows | f64 | 1e-13 | 64 u standard deviations |
//! | either | f32 | 6e-13 | 5e-14 standard deviations |
//!
//! A standard deviation has half the relative error of the variance, and a rounding. Integers and decimals are cast to
//! f64 by DataFusion first: what that rounds is not counted here. The bounds are for the worst of all columns; the tests
//! print the errors of numerically difficult ones (`cargo test --release -- --nocapture groups_keep`).
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
//! every rounding error. Then `mean = shift + S1 / n` and `m2 = S2 - S1^2 / n`, in arithmetic of two and three words.
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
//! `18 u S2 + 2 (|S1| / n) 16 u sum |d|`. With `|S1|^2 / n = S2 - m2` and `(sum |d|)^2 <= n S2`, that is
//! `(18 kappa + 32 sqrt(kappa (kappa - 1))) u m2`: at most `784 u`, from 32 values on at most `384 u`. The mean is off by
//! at most `16 u sqrt(kappa)`, that is `64 u`, standard deviations.
//!
//! *Sums of blocks.* They keep all errors but those of the low words, which are below `(n / 16)^2 u^2 S2`: for 2^32
//! values, `8 u` of `S2`.
//!
//! *Merging.* A partial state has a mean of three words and an m2 of two. It is added as `count` values at its mean,
//! `S1 += count * distance`, `S2 += count * distance^2 + m2`, all in two words, which rounds less than `100 u^2 n` of
//! `m2`. What is left are the errors of the states that are merged: those of their m2, which stay the same part of the
//! total, and those of their means. If each mean is off by `64 u` of its standard deviations, then by Cauchy and Schwarz
//! m2 is off by at most another `64 u`. So the bound for any number of states is `848 u < 1e-13`. The means themselves
//! are averages, and so are their errors.
//!
//! # Windows
//! A row that leaves a window is not subtracted from anything: see `src/window.rs`. Each frame has the bounds of a group
//! of its rows.
//!
//! # Limits
//! In groups and windows, variances below 1e-289 lose digits as f64 itself does. More than 2^53 values in one group are
//! counted right, but enter the arithmetic rounded.
//!
//! # Values that are not finite
//! They affect only their own group, and in windows only the frames that contain them:
//!
//! | rows have | mean | m2, variance, standard deviation |
//! |---|---|---|
//! | a NaN, or infinities of both signs | NaN | NaN |
//! | infinities of one sign | that infinity | NaN |
//! | finite values, m2 past `f64::MAX` | right | infinite |
