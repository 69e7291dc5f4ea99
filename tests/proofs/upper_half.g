# The square of a deviation of f64 values: src/spec/fallback.rs, `square`; `add_squares_compensated` in the kernels.
# `upper` keeps 26 significant bits of d (truncation); the remainder is fl(fl(d - upper) * fl(d + upper)). Proven: upper^2
# and d - upper are exact; the exact remainder R = d^2 - upper^2 is from 0 to 2^-24 d^2; the computed one is within 2^-76 d^2
# of it (two roundings). Assumed: no underflow (|d| >= 2^-450). Where upper = d, the remainder is exactly 0.
@fl = float<ieee_64, ne>;
@upper_26_bits = float<26, -1047, zr>;
d = fl(d_);
upper = upper_26_bits(d);
difference fl= d - upper;
remainder fl= (d - upper) * (d + upper);
R = (d - upper) * (d + upper);
e = (upper - d) / d;
{ |d| in [1b-450, 1b500] ->
  fl(upper * upper) - upper * upper in [0, 0]
  /\ difference - (d - upper) in [0, 0]
  /\ R / (d * d) / 1b-24 in [0, 1] # REMAINDER
  /\ (|R| >= 1b-1000 -> |(remainder - R) / (d * d) / 1b-76| <= 1.0001) # REMAINDER_ERROR
}
R / (d * d) -> -e * (2 + e) { d <> 0 };
(remainder - R) / (d * d) / 1b-76 -> ((remainder - R) / R / 1b-52) * (R / (d * d) / 1b-24) { R <> 0, d <> 0 };
