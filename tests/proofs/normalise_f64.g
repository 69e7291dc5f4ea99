# Normalised values in f64: y = (x - mean) * scale + bias' with bias' = bias - low * scale: src/batch_norm/parameters.rs, `fill`;
# src/kernels/map/formula.rs. mean + low is the double-double mean M, mean the f64 nearest to it; D = x - M, P = D * scale.
# Every rounding is a factor 1 + e, |e| <= u / (1 + u): of the difference (e1), product (e2), low * scale (e3), bias' (e4), y (e5).
# Two cases, by Sterbenz's lemma:
#  near: mean / 2 <= x <= 2 mean, so e1 = 0. x is an f64 too, hence |low| <= |D|; l = low / D, (x - mean) / D = 1 + l.
#  far: |x - mean| >= |mean| / 2, so |k| <= 2.0001 u, k = low / D.
# y - (P + bias) = a P + b bias + e5 (P + bias). Proven: |a| <= 4.0001 u, |b| <= u; without a low word (evaluation: mean and
# variance are given) |a| <= 2.0001 u and b = 0.
# With scale = S (1 + s) and P* = (x - mu) S for the exact mean mu = M + eta: y - (P* + bias) = t P* + ... with t proven here:
# 9.4844 u for f64 data, 2051.8 u for f32 data, 5.5003 u in evaluation. Assumed: products and y are no subnormals.
u = 1b-53;
e1 = f1 * u / (1 + u); e2 = f2 * u / (1 + u); e3 = f3 * u / (1 + u); e4 = f4 * u / (1 + u); e5 = f5 * u / (1 + u);
near = ((1 + l) * e2 - l * (e3 + e4 + e3 * e4)) * (1 + e5);
far = ((1 + k) * (e1 + e2 + e1 * e2) - k * (e3 + e4 + e3 * e4)) * (1 + e5);
given = (e1 + e2 + e1 * e2) * (1 + e5);
b = e4 * (1 + e5);
t_f64 = s + a + s * (a + e5);
t_f32 = z + a + z * (a + e5);
t_given = g + c + g * (c + e5);
{ |f1| <= 1 /\ |f2| <= 1 /\ |f3| <= 1 /\ |f4| <= 1 /\ |f5| <= 1 /\ l in [-1, 1] /\ |k / u| <= 2.0001
  /\ |a / u| <= 4.0001 # NORMALISE_F64_PRODUCT
  /\ |c / u| <= 2.0001 # NORMALISE_GIVEN_PRODUCT
  /\ |s / u| <= 5.4842 # SCALE_F64
  /\ |z / u| <= 2047.6 # SCALE_F32
  /\ |g / u| <= 3.5001 # SCALE_GIVEN
  ->
  |near / u| <= 4.0001 # NORMALISE_F64_PRODUCT
  /\ |far / u| <= 4.0001 # NORMALISE_F64_PRODUCT
  /\ |given / u| <= 2.0001 # NORMALISE_GIVEN_PRODUCT
  /\ |b / u| <= 1 # NORMALISE_BIAS
  /\ |t_f64 / u| <= 9.4844 # NORMALISE_F64
  /\ |t_f32 / u| <= 2051.8 # NORMALISE_F32
  /\ |t_given / u| <= 5.5003 # NORMALISE_GIVEN
}
