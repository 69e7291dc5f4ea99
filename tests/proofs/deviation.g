# A deviation, d = fl(x - shift): src/spec/scalar.rs, `chunk`.
# f32 values are widened to f64, which is exact; their shift is an f32 (step 1) or an f64 (step 5). Proven: one rounding,
# relative error at most u, for all three kinds. A difference of floating-point numbers does not underflow, so the range
# of d is only that of f64 without overflow.
@fl = float<ieee_64, ne>;
@single = float<ieee_32, ne>;
u = 1b-53;
x = fl(x_); shift = fl(shift_); d fl= x - shift;
w = single(w_); near = single(near_); e fl= w - near; g fl= w - shift;
{ |x - shift| in [1b-1074, 1b1023] /\ |w - near| in [1b-149, 1b129] /\ |w - shift| in [1b-1074, 1b1023] ->
  |(d - (x - shift)) / (x - shift) / u| <= 1 # DEVIATION
  /\ |(e - (w - near)) / (w - near) / u| <= 1 # DEVIATION
  /\ |(g - (w - shift)) / (w - shift) / u| <= 1 # DEVIATION
}
