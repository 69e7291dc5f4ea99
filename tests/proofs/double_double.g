# Sums and products of double-doubles: `sum` and `product` in src/spec/scalar.rs and src/kernels/double_double.rs.
# Sum (SloppyDWPlusDW of Joldes, Muller & Popescu, with two-sum for fast-two-sum): s = two-sum of the high words, v of the low
# ones, w = fl(s.low + v), two-sum. The operands are scaled so that |a| + |b| <= 1 (high words): the low words add up to at
# most u, |s.low| <= u. Proven: off by at most 3.0001 u^2 (|a| + |b|), whatever their signs; not relative to the sum.
# Product (DWTimesDW1, again with two-sum), in units of a.high b.high: p = two-product, x = b.low / b.high, y = a.low / a.high,
# w = fl(p.low + fl(fl(x) + fl(y))). Proven: relative error 12.001 u^2 where b is a `quotient`, whose low word can be 2.0001 u of
# its high one. (For normalised operands the theorem of Muller & Rideau 2022 has 5 u^2.) Assumed: no underflow.
u = 1b-53;
v = (al + bl) * (1 + e1);
w = (sl + v) * (1 + e2);
sum_error = w - (sl + al + bl);
product = 1 + (pl + (x * (1 + f1) + y * (1 + f2)) * (1 + f3)) * (1 + f4);
exact = (1 + pl) + x + y + x * y;
{ |e1| <= 1b-53 /\ |e2| <= 1b-53 /\ |al + bl| <= 1b-53 /\ |sl| <= 1b-53
  /\ |f1| <= 1b-53 /\ |f2| <= 1b-53 /\ |f3| <= 1b-53 /\ |f4| <= 1b-53 /\ |pl| <= 1b-53 /\ |y| <= 1b-53
  /\ |x / u| <= 2.0001 # QUOTIENT_LOW
  ->
  |sum_error / 1b-106| <= 3.0001 # SUM_DD
  /\ |(product - exact) / exact / 1b-106| <= 12.001 # PRODUCT_DD
}
sum_error -> (al + bl) * e1 + (sl + (al + bl) * (1 + e1)) * e2;
product - exact -> x * (f1 + f3 + f1 * f3) + y * (f2 + f3 + f2 * f3) + (pl + (x * (1 + f1) + y * (1 + f2)) * (1 + f3)) * f4 - x * y;
