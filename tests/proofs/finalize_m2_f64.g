# Step 4 for f64 values, m2: `finalize` in src/spec/scalar.rs and src/kernels/reduce/finalize.rs, in the scale where the sum of
# squares Q is at least 1 (powers of two, of values and of n, change no rounding). q = fl(sum / n); R = sum - n q is an f64 and computed exactly; C1
# and C2 are the compensation terms; sum q = ph + pl and Q - ph = mh + ml exactly (Dekker's product, Knuth's two-sum).
# M is mh's exact complement: mh + M = Q + C2 - sum q - q (R + 2 C1), the sum of squares about shift + q.
# Proven: |m2_low - M| <= 6.001 * 2^-77 Q. Given (README.md, "A chunk of f64 data"): Q <= 2; |C2| <= 2^-23, |pl| <= u Q,
# |ml| <= u Q, and what q times C1 and R can be after 530 additions, with room to spare.
@fl = float<ieee_64, ne>;
C1 = fl(C1_); C2 = fl(C2_); R = fl(R_); q = fl(q_); pl = fl(pl_); ml = fl(ml_);
left fl= R + C1;
twice fl= left + C1;
share fl= q * twice;
first fl= C2 - pl;
lost fl= first - share;
m2_low fl= ml + lost;
W = q * (R + C1 + C1);
M = ml + (C2 - pl - W);
{ |C2 / 1b-23| <= 1.0001 /\ |pl| <= 1b-52 /\ |ml| <= 1b-52 /\ |W| <= 1b-41 /\ |q * (R + C1)| <= 1b-42 /\ |q * C1| <= 1b-42
  /\ |q| in [1b-500, 1b500] /\ |R + C1| in [1b-500, 1b500] /\ |left + C1| in [1b-500, 1b500] ->
  |(m2_low - M) / 1b-77| <= 6.001 # FINALIZE_M2_F64
}
share - W -> (share - q * twice) + q * (left + C1) * ((twice - (left + C1)) / (left + C1))
  + q * (R + C1) * ((left - (R + C1)) / (R + C1)) { left + C1 <> 0, R + C1 <> 0 };
q * (left + C1) -> q * (R + C1) * (1 + (left - (R + C1)) / (R + C1)) + q * C1 { R + C1 <> 0 };
q * twice -> q * (left + C1) * (1 + (twice - (left + C1)) / (left + C1)) { left + C1 <> 0 };
m2_low - M -> (m2_low - (ml + lost)) + (lost - (first - share)) + (first - (C2 - pl)) - (share - W);
