# A step of a compensated sum: `Accumulator::add` in src/spec/scalar.rs, `add_compensated`, `add_squares_compensated` and
# `join` in src/kernels/reduce/accumulator.rs: next = fl(sum + x), low = its exact error (Knuth's two-sum), then
# compensation + (remainder + low). Proven: |low| <= u |sum + x|; the two roundings of the compensation term multiply the
# remainder and low by 1 + e, |e| <= 2.0001 u, and the term before by one factor of them. (That two-sum is exact is Knuth's
# theorem; proved in Coq by Boldo, Graillat & Muller 2017.)
@fl = float<ieee_64, ne>;
u = 1b-53;
sum = fl(sum_); x = fl(x_); compensation = fl(compensation_); remainder = fl(remainder_); low = fl(low_);
next fl= sum + x;
error = (sum + x) - next;
part fl= remainder + low;
after fl= compensation + part;
e_part = (part - (remainder + low)) / (remainder + low);
e_after = (after - (compensation + part)) / (compensation + part);
{ |sum + x| in [1b-1074, 1b1000] /\ |remainder + low| in [1b-1074, 1b1000] /\ |compensation + part| in [1b-1074, 1b1000] ->
  |error / (sum + x) / u| <= 1 # COMPENSATION_LOW
  /\ |e_after / u| <= 1 # COMPENSATION_LOW
  /\ |((1 + e_part) * (1 + e_after) - 1) / u| <= 2.0001 # COMPENSATION_STEP
}
error / (sum + x) -> -((next - (sum + x)) / (sum + x)) { sum + x <> 0 };
