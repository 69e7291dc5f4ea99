# A group's eight values, added pairwise: `Grid::sum` in src/spec/scalar.rs, `pairwise` in src/kernels/reduce/accumulator.rs.
# Proven: for non-negative terms (squares) the relative error is that of three roundings; for any terms each one is
# multiplied by three factors 1 + e, so the error is at most as much of the sum of absolute values. Assumed: nothing
# overflows (sums do not underflow); the hypotheses on quotients say that terms are non-negative.
@fl = float<ieee_64, ne>;
u = 1b-53;
p fl= a + b; q fl= c + d; r fl= e + f; s fl= g + h;
v fl= p + q; w fl= r + s;
sum fl= v + w;
V = (a + b) + (c + d); W = (e + f) + (g + h);
factors = (1 + e1) * (1 + e2) * (1 + e3);
{ a + b in [1b-1000, 1b1000] /\ c + d in [1b-1000, 1b1000] /\ e + f in [1b-1000, 1b1000] /\ g + h in [1b-1000, 1b1000]
  /\ (a + b) / V in [0, 1] /\ (e + f) / W in [0, 1] /\ V / (V + W) in [0, 1]
  /\ |e1| <= 1b-53 /\ |e2| <= 1b-53 /\ |e3| <= 1b-53 ->
  |(sum - (V + W)) / (V + W) / u| <= 3.0001 # GROUP
  /\ |(factors - 1) / u| <= 3.0001 # GROUP
}
