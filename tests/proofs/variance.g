# The variance, m2 / degrees of freedom: `variance` and `quotient` in src/spec/scalar.rs, with m2 = high + low, |low| <= u |high|:
# q = fl(high / n); its remainder high - n q is an f64 and computed exactly; tail = fl(fl(remainder + low) / n); then q + tail,
# rounded. That is DWDivFP3 of Joldes, Muller & Popescu without its last step, which is exact.
# In units of high / n: q = 1 + e1, the remainder is -e1, low is l; e2, e3, e4 are the roundings of remainder + low, of the
# second quotient and of the variance. Proven (crudely: their theorem has 3 u^2): the quotient is within 4.0001 u^2, its low word
# within 2.0001 u of the high one, the variance within one rounding of it; so the variance of f64 data (m2 within 2.968 u, merged)
# is within 3.9682 u of the exact one, that of f32 data (m2 within 4087 u) within 4088.1 u. Assumed: no underflow (high >= 2^-900).
@fl = float<ieee_64, ne>;
u = 1b-53;
high = fl(high_); n = fl(n_);
first fl= high / n;
q = 1 + e1;
tail = (l - e1) * (1 + e2) * (1 + e3);
V = 1 + l;
variance = (q + tail) * (1 + e4);
of_f64 = (1 + a) * (1 + r) - 1;
of_f32 = (1 + b) * (1 + r) - 1;
{ |e1| <= 1b-53 /\ |e2| <= 1b-53 /\ |e3| <= 1b-53 /\ |e4| <= 1b-53 /\ |l| <= 1b-53 /\ |r / u| <= 1.0001 # VARIANCE
  /\ |a / u| <= 2.968 # M2_F64
  /\ |b / u| <= 4087 # M2_F32
  /\ high in [1b-900, 1b1000] /\ n in [1, 1b64] ->
  |(first - high / n) / (high / n) / u| <= 1 # QUOTIENT_ROUNDED
  /\ |(q + tail - V) / V / 1b-106| <= 4.0001 # QUOTIENT
  /\ |tail / q / u| <= 2.0001 # QUOTIENT_LOW
  /\ |(variance - V) / V / u| <= 1.0001 # VARIANCE
  /\ |of_f64 / u| <= 3.9682 # VARIANCE_F64
  /\ |of_f32 / u| <= 4088.1 # VARIANCE_F32
}
q + tail - V -> (l - e1) * (e2 + e3 + e2 * e3);
of_f64 -> a + r + a * r;
of_f32 -> b + r + b * r;
(variance - V) / V -> (1 + e4) * (1 + (q + tail - V) / V) - 1 { V <> 0 };
