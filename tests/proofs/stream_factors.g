# What a row of a stream contributes: `RowWeights::next` in src/spec/row_weights.rs, equal weights.
# Proven: for counts up to 2^53, which are exact in f64, and so is count - 1, the share 1 / count and the factor
# (count - 1) / count are rounded once each.
@fl = float<ieee_64, ne>;
@whole = fixed<0, ne>;
u = 1b-53;
count = whole(count_);
share = fl(1 / count);
before = fl(count - 1);
square = fl(before / count);
{ count in [2, 1b53] ->
  before - (count - 1) in [0, 0]
  /\ |(share - 1 / count) / (1 / count) / u| <= 1 # STREAM_FACTORS
  /\ |(square - before / count) / (before / count) / u| <= 1 # STREAM_FACTORS
}
