# All chunks of f32 values, merged without a rounding (README.md, "All chunks of f32 data"). w is the share of m2 that lies within chunks,
# 1 - w that between their means. Errors of 4057 u of what is within and of 344 u standard deviations of each mean make
# (4057 w + 2 * 344 sqrt(w (1 - w)) + 344^2 u w) u of the whole m2. Proven: at most 4086 u.
u = 1b-53;
A = 4057; # CHUNK_M2_F32
B = 344; # CHUNK_MEAN_F32
s = sqrt(w * (1 - w));
{ w in [0, 1] ->
  A * w + 2 * B * s + B * B * u * w <= 4086 # BATCH_M2_F32
}
$ w in 20000;
