# One row of a stream: `Running::push` in src/spec/welford.rs; README.md, "Streams".
# With D = x - mean exactly, mean = shift + offset + low: delta = (D + low + (D + offset + low) a)(1 + b), as a is the
# rounding of x - shift and b that of the second difference. Then the share (c; c2 where weights fall, as the total is
# rounded, too), the product (d), the addition of low (e), and Kahan's addition, which is off by k of the step where it
# is out of order.
# The mean moves by ((delta / n)(1 + c)(1 + d) + low)(1 + e)(1 + k) - low, and should by D / n. Proven, of n times the
# difference: the factors of D, of offset, of low, and of n low.
# m2: delta^2 (n - 1) / n has the roundings b twice, that of the factor (c, or c .. c5 where weights fall), two products
# (d, f), the addition of m2's low word (e) and Kahan's (k). Proven: the relative error of (delta / (1 + b))^2 (n - 1) /
# n in all.
u = 1b-53;
rest = (1 + b) * (1 + c) * (1 + d) * (1 + e) * (1 + k);
of_delta = (1 + a) * rest - 1;
of_delta_ewm = (1 + a) * (1 + c2) * rest - 1;
of_offset = a * rest * (1 + c2);
of_low = (1 + a) * rest * (1 + c2);
of_rows = (1 + e) * (1 + k) - 1;
square = (1 + b) * (1 + b) * (1 + c) * (1 + d) * (1 + f) * (1 + e) * (1 + k) - 1;
factor_ewm = (1 + c) * (1 + c2) * (1 + c3) * (1 + c4) * (1 + c5);
square_ewm = (1 + b) * (1 + b) * factor_ewm * (1 + d) * (1 + f) * (1 + e) * (1 + k) - 1;
{ |a| <= 1b-53 /\ |b| <= 1b-53 /\ |d| <= 1b-53 /\ |e| <= 1b-53 /\ |f| <= 1b-53
  /\ |c2| <= 1b-53 /\ |c3| <= 1b-53 /\ |c4| <= 1b-53 /\ |c5| <= 1b-53
  /\ |c / u| <= 1 # STREAM_FACTORS
  /\ |k / u| <= 1.0001 # STREAM_KAHAN
  ->
  |of_delta / u| <= 6.0002 # STREAM_STEP_DELTA
  /\ |of_delta_ewm / u| <= 7.0002 # EWM_STEP_DELTA
  /\ |of_offset / u| <= 1.0001 # STREAM_STEP_OFFSET
  /\ |of_low| <= 1.0001 # STREAM_STEP_OFFSET
  /\ |of_rows / u| <= 2.0002 # STREAM_STEP_LOW
  /\ |square / u| <= 7.0002 # STREAM_SQUARE
  /\ |square_ewm / u| <= 11.001 # EWM_SQUARE
}
