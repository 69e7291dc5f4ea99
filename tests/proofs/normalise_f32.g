# Normalised values in f32: y = ((x - high) - low) * s + b, without fused operations: src/batch_norm/parameters.rs, `InSingle`;
# src/kernels/map/formula.rs. u = 2^-24. M is the mean (a double-double), high the f32 nearest to its high word, L = M - high;
# low = fl(L) and left = L - low; s = fl(scale), scale within 2049 * 2^-53 of the exact S; b = fl(bias - left * scale);
# D = x - M, P = D * S. Every f32 rounding is a factor 1 + e, |e| <= u / (1 + u): of the differences (e1, e2), the scale (e3), the
# product (e4), the bias (e6), y (e5); g1, g2 are those of the bias in f64, h the scale's error.
# Two cases, by Sterbenz's lemma:
#  near: high / 2 <= x <= 2 high, so e1 = 0. x is an f32 too, hence |L| <= |D|, but for the 2^-28 by which high may be the
#   farther of two f32.
#  far: |x - high| >= |high| / 2, so |m| <= 2.0001 u, m = L / D, and (x - high) / D = 1 + m.
# k = left / D: |left| <= u |L|, but for the 2^-27 by which L is rounded in f64. (Far: far less.)
# y - (P + bias) = a P + c bias + e5 (P + bias). Proven: |a| <= 4.0001 u, |c| <= 1.0001 u; near alone |a| <= 3.0001 u.
# Assumed: the product and b are no subnormals, and low is none, or left * scale is negligible (README.md).
u = 1b-24;
e1 = f1 * u / (1 + u); e2 = f2 * u / (1 + u); e3 = f3 * u / (1 + u);
e4 = f4 * u / (1 + u); e5 = f5 * u / (1 + u); e6 = f6 * u / (1 + u);
s = (1 + e3) * (1 + h) - 1;
product = e2 + e4 + e2 * e4 + s + s * (e2 + e4 + e2 * e4);
b = (1 + g2) * (1 + e6) - 1;
kept = (1 + h) * (1 + g1) * (1 + b) - 1;
near = (product + k * (product - kept)) * (1 + e5);
far = (product + e1 * (1 + m) * (1 + product) + k * (product - kept)) * (1 + e5);
c = b * (1 + e5);
{ |f1| <= 1 /\ |f2| <= 1 /\ |f3| <= 1 /\ |f4| <= 1 /\ |f5| <= 1 /\ |f6| <= 1
  /\ |g1| <= 1b-53 /\ |g2| <= 1b-53 /\ |h| <= 2.3e-13 /\ |k / u| <= 1.000001 /\ |m / u| <= 2.0001
  ->
  |near / u| <= 3.0001 # NORMALISE_SINGLE_NEAR
  /\ |far / u| <= 4.0001 # NORMALISE_SINGLE_PRODUCT
  /\ |c / u| <= 1.0001 # NORMALISE_SINGLE_BIAS
}
