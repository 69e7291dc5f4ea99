# Step 4 for f64 values, mean: `finalize` in src/spec/scalar.rs: shift + q = high + low exactly (two-sum), then the low word
# takes the quotient of left = R + C1, what the division and the running sum left over. The sum of both words is exact.
# Proven: the quotient has two roundings, the low word one more. So the mean is within u |low| + 3.0001 u |R + C1| / n, where
# |low| <= u |mean|.
@fl = float<ieee_64, ne>;
u = 1b-53;
R = fl(R_); C1 = fl(C1_); n = fl(n_); low = fl(low_);
left fl= R + C1;
part fl= left / n;
mean_low fl= low + part;
{ |R + C1| in [1b-500, 1b500] /\ |left| in [1b-500, 1b500] /\ n in [1, 1b53] /\ |low + part| in [1b-900, 1b900] ->
  |(part - (R + C1) / n) / ((R + C1) / n) / u| <= 2.0001 # FINALIZE_MEAN_F64
  /\ |(mean_low - (low + part)) / (low + part) / u| <= 1 # FINALIZE_MEAN_LOW_F64
}
