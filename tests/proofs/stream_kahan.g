# Kahan's addition: `offset + step` and `m2 + square` in `Running::push`, src/spec/welford.rs.
# sum = fl(a + b), back = fl(sum - a), low = fl(b - back). If |a| >= |b|, sum + low is a + b (fast two-sum; Dekker
# 1971). Here |a| <= |b|, in units of b: a = A b, r the relative rounding of the sum, s that of `back`. lost = a + b -
# sum, exactly; sum - a is b - lost. Proven: `back` is within a factor of 2 of b, so that b - back is exact (Sterbenz);
# low is within 1.0001 u |b| of lost.
u = 1b-53;
lost = -((1 + A) * r);
back = (1 - lost) * (1 + s);
low = 1 - back;
{ |A| <= 1 /\ |r| <= 1b-53 /\ |s| <= 1b-53 ->
  |low - lost| / u <= 1.0001 # STREAM_KAHAN
  /\ |(back - 1) / u| <= 3.0001 # STREAM_KAHAN_BACK
}
low - lost -> -(1 - lost) * s;
back - 1 -> s - lost * (1 + s);
