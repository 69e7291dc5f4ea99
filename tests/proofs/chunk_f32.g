# A chunk of f32 values, steps 2 to 4 together, in units of its exact m2 (README.md, "A chunk of f32 data").
# kappa = S2 / m2 = 1 + r^2 with r = |S1| / sqrt(n m2); k = sqrt(kappa); kappa <= 16 but for the
# rounding of the check (1.000001). Rounded: S2 (1 + a), |a| <= gamma(87); S1 + E k with
# |E| <= gamma(85) (in units of sqrt(n m2), by Cauchy and Schwarz); the quotient (g), the product (f: quotient and product),
# the difference (h). Proven: m2 within 4057 u of itself, the mean within 344 u standard deviations, for kappa <= 16.
u = 1b-53;
C = 16; # CONDITION_F32
r = R * sqrt(C - 1) * 1.000001;
k = K * sqrt(C) * 1.000001;
kappa = 1 + r * r;
S = 87; # ROUNDINGS_SQUARES
L = 85; # ROUNDINGS_SUM
gamma_squares = S * u / (1 - S * u);
gamma_sum = L * u / (1 - L * u);
e = E * k;
m2 = (kappa * (1 + a) - (r + e) * (r + e) * (1 + f)) * (1 + h);
mean = (r + e) * (1 + g);
{ R in [0, 1] /\ K in [0, 1] /\ |a / u| <= 87.0001 /\ |E / u| <= 85.0001
  /\ |f / u| <= 2.0001 /\ |g / u| <= 1 /\ |h / u| <= 1 ->
  gamma_squares / u <= 87.0001
  /\ gamma_sum / u <= 85.0001
  /\ |(m2 - 1) / u| <= 4057 # CHUNK_M2_F32
  /\ |(mean - r) / u| <= 344 # CHUNK_MEAN_F32
}
m2 - 1 -> (kappa * a - 2 * r * e - e * e - f * (r + e) * (r + e)) * (1 + h) + h;
mean - r -> e + g * (r + e);
