# Normalised values, all in f32: y = ((x - high) - low) * s + b, without fused operations. u = 2^-24. M is the exact mean (an f64
# or a double-double), high the f32 nearest to it, low = fl(L), L = M - high; s = fl(scale), scale within 2049 * 2^-53 of the
# exact S; D = x - M, P = D * S; b and y have a factor 1 + e6 and 1 + e5.
# Two cases, by Sterbenz's lemma:
#  near: high / 2 <= x <= 2 high, so x - high is exact; |L| <= |D|, because x is an f32 and high is the one nearest to M.
#  far: |x - high| >= |high| / 2, so |L| <= 2.0001 u |D|.
# y - (P + bias) = a P + c bias + e5 (P + bias). Proven: |a| <= 4.0001 u in both cases, |c| <= u.
# Range: nothing overflows; x - high is any difference of f32 values but 0 (where v = -low: one rounding less); low, v * s and s
# are no subnormals, |D| >= 2^-140 and S, s are from 2^-120 to 2^120.
@fl = float<ieee_32, ne>;
u = 1b-24;
e5 = f5 * u / (1 + u);
x = fl(x_); high = fl(high_); low = fl(L); s = fl(scale);
D = (x - high) - L;
P = D * S;
v_near = fl((x - high) - low);
p_near fl= v_near * s;
t fl= x - high;
v_far fl= t - low;
p_far fl= v_far * s;
a_near = (p_near - P) / P * (1 + e5);
a_far = (p_far - P) / P * (1 + e5);
c = f6 * u / (1 + u) * (1 + e5);
{ |(low - L) / L / u| <= 1 /\ |(scale - S) / S / u| <= 0.000004 /\ |L| in [1b-125, 1b100]
  /\ |x - high| in [1b-149, 1b127] /\ |D| in [1b-140, 1b127] /\ |S| in [1b-120, 1b120] /\ |scale| in [1b-120, 1b120]
  /\ |(x - high) - low| in [1b-149, 1b127] /\ |v_near * s| in [1b-125, 1b127]
  /\ |t - low| in [1b-149, 1b127] /\ |v_far * s| in [1b-125, 1b127] /\ |f5| <= 1 /\ |f6| <= 1 ->
  (|L / D| <= 1 -> |a_near / u| <= 4.0001) # NORMALISE_F32_PRODUCT
  /\ (|L / D / u| <= 2.0001 -> |a_far / u| <= 4.0001) # NORMALISE_F32_PRODUCT
  /\ |c / u| <= 1 # NORMALISE_F32_BIAS
}
(((x - high) - low) - D) / D -> -((low - L) / L) * (L / D) { D <> 0, L <> 0 };
((t - low) - D) / D -> ((t - (x - high)) / (x - high)) * (1 + L / D) - ((low - L) / L) * (L / D) { D <> 0, x - high <> 0, L <> 0 };
(v_near - D) / D -> (1 + (v_near - ((x - high) - low)) / ((x - high) - low)) * (1 + (((x - high) - low) - D) / D) - 1
  { D <> 0, (x - high) - low <> 0 };
(v_far - D) / D -> (1 + (v_far - (t - low)) / (t - low)) * (1 + ((t - low) - D) / D) - 1 { D <> 0, t - low <> 0 };
(p_near - P) / P -> (1 + (p_near - v_near * s) / (v_near * s)) * (1 + (v_near - D) / D) * (1 + (s - scale) / scale)
  * (1 + (scale - S) / S) - 1 { P <> 0, v_near * s <> 0, D <> 0, S <> 0, scale <> 0 };
(p_far - P) / P -> (1 + (p_far - v_far * s) / (v_far * s)) * (1 + (v_far - D) / D) * (1 + (s - scale) / scale)
  * (1 + (scale - S) / S) - 1 { P <> 0, v_far * s <> 0, D <> 0, S <> 0, scale <> 0 };
a_near / u -> ((p_near - P) / P / u) * (1 + e5);
a_far / u -> ((p_far - P) / P / u) * (1 + e5);
