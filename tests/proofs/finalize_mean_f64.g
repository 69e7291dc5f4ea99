# Step 4 for f64 values, mean: `finalize` in src/spec/scalar.rs adds q and the quotient of R + C1, the remainder of the
# division and the compensation term, to the shift, exactly (`triple`).
# Proven: that quotient has two roundings. So the mean is within 2.0001 u of |R + C1| / n.
@fl = float<ieee_64, ne>;
u = 1b-53;
R = fl(R_); C1 = fl(C1_); n = fl(n_);
remainder fl= R + C1;
part fl= remainder / n;
{ |R + C1| in [1b-500, 1b500] /\ |remainder| in [1b-500, 1b500] /\ n in [1, 1b53] ->
  |(part - (R + C1) / n) / ((R + C1) / n) / u| <= 2.0001 # FINALIZE_MEAN_F64
}
