# A chunk of f64 values, steps 2 to 4 together (README.md, "A chunk of f64 data"). The result is that of the values x + e,
# |e| <= u |x - shift|, but for `lost` of their sum of squares S2: the compensation term of the squares (535 roundings of at
# most 2^-24 + 530 u of S2, remainders within 2^-76), that of the sum (squared or times q), and finalize.
# In units of the exact m2: kappa = S2 / m2 = k^2, and m2 of x + e is within 2 k u + k^2 u^2 (Cauchy and Schwarz).
# Proven: lost <= 0.0001 u S2; m2 within 2.967 u of itself, the mean within 1.4834 u standard deviations, for kappa <= 2.2.
u = 1b-53;
C = 2.2; # CONDITION_F64
k = K * sqrt(C) * 1.0000001;
additions = 530; # ADDITIONS_F64
roundings = 535; # ROUNDINGS_F64
low = (additions + 1) * u;
rounded = 1.0001 * roundings * u * (1b-24 + low);
of_sum = 3.0003 * roundings * u * low;
offset = (1.0001 * low + u) * (1.0001 * low + u);
final = 6.001; # FINALIZE_M2_F64
finalize = final * 1b-77;
lost = rounded + 1.0001 * 1b-76 + of_sum + offset + finalize;
m2 = 2 * k * u + k * k * u * u + k * k * 1.0001 * lost;
mean = k * u + k * 1b-90;
{ K in [0, 1] ->
  lost / u <= 0.0001 # LOST_F64
  /\ m2 / u <= 2.967 # CHUNK_M2_F64
  /\ mean / u <= 1.4834 # CHUNK_MEAN_F64
}
