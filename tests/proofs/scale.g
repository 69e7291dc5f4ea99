# The scale, weight / sqrt(variance + eps): src/batch_norm/parameters.rs, `fill`: sum = variance + eps, 1 / sqrt(sum), times the
# weight. V is the exact variance; a and b are computed ones of f64 and of f32 data, c is a given one (evaluation).
# Proven: half of the variance's relative error (eps adds none) and 3.5 roundings: half of the sum's, and those of root,
# quotient and product. Assumed: variance + eps from 2^-900 to 2^900, weight from 2^-400 to 2^400: nothing is subnormal.
@fl = float<ieee_64, ne>;
u = 1b-53;
weight = fl(weight_); eps = fl(eps_);
sum_a fl= a + eps; root_a fl= sqrt(sum_a); one_a fl= 1 / root_a; scale_a fl= one_a * weight;
sum_b fl= b + eps; root_b fl= sqrt(sum_b); one_b fl= 1 / root_b; scale_b fl= one_b * weight;
sum_c fl= c + eps; root_c fl= sqrt(sum_c); one_c fl= 1 / root_c; scale_c fl= one_c * weight;
S = (1 / sqrt(V + eps)) * weight;
G = (1 / sqrt(c + eps)) * weight;
{ |(a - V) / V / u| <= 3.9682 # VARIANCE_F64
  /\ |(b - V) / V / u| <= 4088.1 # VARIANCE_F32
  /\ c in [1b-900, 1b900]
  /\ V in [1b-900, 1b900] /\ eps in [0, 1b900] /\ V / (V + eps) in [0, 1] /\ |weight| in [1b-400, 1b400] ->
  |(scale_a - S) / S / u| <= 5.4842 # SCALE_F64
  /\ |(scale_b - S) / S / u| <= 2047.6 # SCALE_F32
  /\ |(scale_c - G) / G / u| <= 3.5001 # SCALE_GIVEN
}
(a - V) / V -> (a - V) / V / u * u;
(b - V) / V -> (b - V) / V / u * u;
