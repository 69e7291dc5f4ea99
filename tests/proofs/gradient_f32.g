# Gradients of f32 data in f32: dx = (((dy - oh) - ol) - ((x - high) - low) * slope) * s, without fused operations:
# src/batch_norm/backward/parameters.rs, `in_single`; src/kernels/map/formula.rs. u = 2^-24.
# O is the offset, oh the f32 nearest to it, Lo = O - oh, ol = fl(Lo), ko = (Lo - ol) / A, A = dy - O. As in
# normalise_f32.g: high, low, left and k = left / D for the mean, D = x - M, P = D * S, S the slope; left * slope is in O.
# Every f32 rounding is a factor 1 + e, |e| <= u / (1 + u): of dy's differences (a1, a2), x's (e1, e2), the slope (e3), the
# product (e4), their difference (d1), the scale (d2), dx (d3); h, hs are the errors of slope and scale, g1 that of
# left * slope in f64.
# Two cases each, by Sterbenz's lemma: near (the first difference is exact, |ko| <= u as |Lo| <= |A|), and far (|Lo| <=
# 2.0001 u |A|, so ko is a square of u).
# dx = ((1 + dy_error) A - (1 + x_error) P) (1 + dx_error) scale: below, dy_error and x_error times 1 + dx_error.
u = 1b-24;
a1 = f1 * u / (1 + u); a2 = f2 * u / (1 + u);
e1 = f3 * u / (1 + u); e2 = f4 * u / (1 + u); e3 = f5 * u / (1 + u); e4 = f6 * u / (1 + u);
d1 = f7 * u / (1 + u); d2 = f8 * u / (1 + u); d3 = f9 * u / (1 + u);
dx = (1 + d1) * (1 + d2) * (1 + hs) * (1 + d3) - 1;
dy_near = (a2 - ko * (1 + a2)) * (1 + dx);
dy_far = (a2 + (a1 * (1 + mo) - kf) * (1 + a2)) * (1 + dx);
s = (1 + e3) * (1 + h) - 1;
product = e2 + e4 + e2 * e4 + s + s * (e2 + e4 + e2 * e4);
kept = (1 + h) * (1 + g1) - 1;
x_near = (product + k * (kept - product)) * (1 + dx);
x_far = (product + e1 * (1 + m) * (1 + product) + k * (kept - product)) * (1 + dx);
{ |f1| <= 1 /\ |f2| <= 1 /\ |f3| <= 1 /\ |f4| <= 1 /\ |f5| <= 1 /\ |f6| <= 1 /\ |f7| <= 1 /\ |f8| <= 1 /\ |f9| <= 1
  /\ |g1| <= 1b-53 /\ |h| <= 5e-13 /\ |hs| <= 2.3e-13 /\ |k / u| <= 1.000001 /\ |m / u| <= 2.0001
  /\ |ko / u| <= 1.000001 /\ |mo / u| <= 2.0001 /\ |kf / u| <= 1.2e-7
  ->
  |dy_near / u| <= 2.001 # GRADIENT_SINGLE_DY
  /\ |dy_far / u| <= 2.001 # GRADIENT_SINGLE_DY
  /\ |x_near / u| <= 4.001 # GRADIENT_SINGLE_X
  /\ |x_far / u| <= 4.001 # GRADIENT_SINGLE_X
  /\ |dx / u| <= 3.001 # GRADIENT_SINGLE_DX
}
