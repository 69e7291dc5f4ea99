# The square of a deviation of f32 values, d * d in f64: src/spec/scalar.rs, `chunk`.
# Proven: against the exact (x - shift)^2 the relative error is that of three roundings, because d was rounded and enters
# twice. Assumed: the square is no subnormal (|d| >= 2^-500). With a shift that is an f32, d is a multiple of 2^-149.
@fl = float<ieee_64, ne>;
u = 1b-53;
x = float<ieee_32, ne>(x_); shift = fl(shift_);
d fl= x - shift;
square fl= d * d;
D = x - shift;
{ |D| in [1b-500, 1b500] ->
  |(square - D * D) / (D * D) / u| <= 3.0001 # SQUARE_F32
}
