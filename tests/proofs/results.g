# The published bounds, from those of the other scripts (README.md, "Results").
# m2 of f64 data is within 2.968 u, so a variance before its rounding is within 2.968 units in the last place (u v is at most one);
# rounding adds half a unit, of the larger size where it crosses a power of two: one of the exact variance's.
# f32 data: m2 and mean as relative errors. Normalised values: factors of |y - bias|, |weight| and |bias|; those of f32 data
# with the rounding of y in f64 (one more u of |y - bias| and of |bias|), before the one to f32.
u = 1b-53;
m2_f64 = 2.968; # M2_F64
mean_f64 = 1.4834; # CHUNK_MEAN_F64
m2_f32 = 4087; # M2_F32
mean_f32 = 344; # CHUNK_MEAN_F32
y_f64 = 9.4844; # NORMALISE_F64
y_f32 = 2051.8; # NORMALISE_F32
y_given = 5.5003; # NORMALISE_GIVEN
bias = 1; # NORMALISE_BIAS
y_single = 4.0001; # NORMALISE_SINGLE_PRODUCT
bias_single = 1.0001; # NORMALISE_SINGLE_BIAS
zero = u - u;
{ zero in [0, 0] ->
  m2_f64 + 1 <= 4 # VARIANCE_ULP
  /\ mean_f64 + 0.5 <= 2 # MEAN_SD
  /\ m2_f32 * u <= 4.6e-13 # M2_F32_RELATIVE
  /\ (mean_f32 + 1) * u <= 3.9e-14 # MEAN_F32_SD
  /\ y_f64 <= 9.5 # OUTPUT_F64
  /\ mean_f64 * (1 + 20 * u) + 0.01 <= 1.5 # OUTPUT_F64_WEIGHT
  /\ bias <= 1 # OUTPUT_F64_BIAS
  /\ (y_f32 + 1) * u <= 2.3e-13 # OUTPUT_F32
  /\ (mean_f32 + 1) * (1 + 2100 * u) * u <= 3.9e-14 # OUTPUT_F32_WEIGHT
  /\ bias + 1 <= 2 # OUTPUT_F32_BIAS
  /\ y_given <= 5.6 # OUTPUT_GIVEN
  /\ y_single <= 4.001 # OUTPUT_SINGLE
  /\ bias_single <= 1.001 # OUTPUT_SINGLE_BIAS
}
