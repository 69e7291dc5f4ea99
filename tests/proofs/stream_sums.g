# Streams, all rows together (README.md, "Streams"): what is left of the induction when the square roots are in units of
# each other.
# Welford. A row after j others, in units of u and of the root of m2 after it: with cos and sin of any angle for the
# roots of m2 before it and of what it adds, K j >= (K sqrt(j (j - 1)) + B) cos + C sqrt(j + 1) sin if K^2 j^2 is at
# least the sum of squares of the factors. Proven for j = 2 to 6 one by one, and from 7 on with sqrt(j (j - 1)) <= j -
# 1/2, where it is linear in j; for j = 1, m2 before it is 0. 21.258 is more than H - 3/2 for 2^32 rows. 12/7: what a
# merge needs of the factor F of a push.
# Ewm, alpha <= 1/2: Q^2 is at most 1 + 2 e; the rows before one have at least 0.75 of its weight from the third row on,
# and 0.5 in the second, where m2 before it is 0. For larger alpha, with D the reciprocal of 1 - alpha.
u = 1b-53;
one = 1;
root3 = sqrt(3) * (1 + 1b-40);
Q = sqrt(6.43657) * (1 + 1b-40);
step = 6.0002; # STREAM_STEP_DELTA
step_ewm = 7.0002; # EWM_STEP_DELTA
once = 1.0001; # STREAM_STEP_OFFSET
kahan = 1.0001; # STREAM_KAHAN
square = 7.0002; # STREAM_SQUARE
square_ewm = 11.001; # EWM_SQUARE
offset = 1.7321; # STREAM_OFFSET
offset_ewm = 2.5371; # EWM_OFFSET
last = once * kahan * (1 + 1b-20);
K = 10.99; # STREAM_MEAN
B = 2 * once * offset;
c1 = step + last / 2;
c2 = step + last / 3;
c3 = step + last / 4;
c4 = step + last / 5;
c5 = step + last / 6;
c6 = step + last / 7;
c7 = step + last / 8;
r2 = K * sqrt(2) + B;
r3 = K * sqrt(6) + B;
r4 = K * sqrt(12) + B;
r5 = K * sqrt(20) + B;
r6 = K * sqrt(30) + B;
F = K + 2 * once * offset;
m2 = 105; # STREAM_M2
KE = 19.1; # EWM_MEAN
BE = 2 * once * offset_ewm;
CE = step_ewm + last / 1.75;
CS = step_ewm + last / 1.5;
FE = KE + BE;
E = 2 + 7.3 * sqrt(1 + D);
{ one in [1, 1] /\ D in [2, 1b53] ->
  root3 * one <= 1.7321 # STREAM_OFFSET
  /\ Q * one <= 2.5371 # EWM_OFFSET
  /\ c1 * c1 * 2 / (K * K) <= 1 # STREAM_ROW
  /\ (r2 * r2 + c2 * c2 * 3) / (K * K * 4) <= 1 # STREAM_ROW
  /\ (r3 * r3 + c3 * c3 * 4) / (K * K * 9) <= 1 # STREAM_ROW
  /\ (r4 * r4 + c4 * c4 * 5) / (K * K * 16) <= 1 # STREAM_ROW
  /\ (r5 * r5 + c5 * c5 * 6) / (K * K * 25) <= 1 # STREAM_ROW
  /\ (r6 * r6 + c6 * c6 * 7) / (K * K * 36) <= 1 # STREAM_ROW
  /\ (K * K / 4 - K * B + B * B + c7 * c7) / (7 * (K * K - 2 * K * B - c7 * c7)) <= 1 # STREAM_ROW
  /\ K * K * 12 / (F * F * 7) <= 1 # STREAM_ROW
  /\ square + 2 * (F * sqrt(21.258 / 2) + 1 + last / sqrt(3)) <= 105 # STREAM_M2
  /\ (K + 0.009) * one <= 11 # STREAM_MEAN_SD
  /\ m2 + 1 <= 106 # STREAM_VARIANCE
  /\ (BE * BE + CE * CE) / (0.75 * (KE * KE - 2 * KE * BE - CE * CE)) <= 1 # STREAM_ROW
  /\ CS * CS / (0.5 * KE * KE) <= 1 # STREAM_ROW
  /\ (KE + 0.009) * one <= 20 # EWM_MEAN_SD
  /\ 4.001 + 49.003 * (1 + D) - (E * E - 4.0004 * E) <= 0 # EWM_ROW
  /\ square_ewm + 2 * (1 + last / sqrt(0.375)) + 6 + 0.01 <= 23 # EWM_VARIANCE
  /\ 2 * FE * one <= 49 # EWM_VARIANCE_FALL
}
