"""Prints the reference values of tests/streams.rs: `python3 tests/data/ewm.py > tests/data/ewm.in` (needs pandas)."""

import pandas as pd

print("/// `adjust`, means, biased and unbiased variances after each row.")
print("#[rustfmt::skip]")
print('#[allow(clippy::type_complexity, clippy::excessive_precision, reason = "as printed")]')
print("const PANDAS: [(bool, [f64; 6], [f64; 6], [f64; 6]); 2] = [")
for adjust in [True, False]:
    ewm = pd.Series([1.0, 4.0, 2.0, 8.0, 5.0, 7.0]).ewm(alpha=0.3, adjust=adjust)
    rows = [ewm.mean(), ewm.var(bias=True), ewm.var(bias=False)]
    texts = [", ".join("f64::NAN" if x != x else repr(float(x)) for x in row) for row in rows]
    print(f"    ({str(adjust).lower()}, [{texts[0]}], [{texts[1]}], [{texts[2]}]),")
print("];")
