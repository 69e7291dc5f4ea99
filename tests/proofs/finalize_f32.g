# Step 4 for f32 values: `finalize` in src/spec/scalar.rs: q = sum / count, m2 = squares - sum * q. The mean is shift + q by
# two-sum, exactly. S, Q are the computed sums, n the count, P = S^2 / n.
# Proven: q has one rounding, sum * q two; m2 is within (2 P / (Q - P) + 1) u of Q - P, 31 u where Q <= 16 (Q - P).
# Assumed: no underflow. (Sums of f32 values are whole multiples of about 2^-220, or 0.)
@fl = float<ieee_64, ne>;
u = 1b-53;
S = fl(S_); Q = fl(Q_); n = fl(n_);
q fl= S / n;
p fl= S * q;
m2 fl= Q - p;
P = S * (S / n);
M = Q - P;
{ |S| in [1b-300, 1b300] /\ Q in [1b-600, 1b600] /\ n in [1, 1b53] /\ M in [1b-600, 1b600]
  /\ |S / n| in [1b-353, 1b300] /\ P / M in [0, 15.00001] ->
  |(q - S / n) / (S / n) / u| <= 1 # QUOTIENT_ROUNDED
  /\ |(p - P) / P / u| <= 2.0001 # FINALIZE_PRODUCT_F32
  /\ |(m2 - M) / M / u| <= 31.001 # FINALIZE_M2_F32
}
(m2 - M) / M -> (1 + (m2 - (Q - p)) / (Q - p)) * (1 - (p - P) / P * (P / M)) - 1 { M <> 0, P <> 0, Q - p <> 0 };
