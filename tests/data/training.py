"""Prints the reference values of tests/training.rs: `python3 tests/data/training.py > tests/data/training.in` (needs
PyTorch; the values are those of 2.15.0 on a CPU, in f64).

Each case trains a layer on some batches, then evaluates the last batch that is not empty.
"""

import torch
import torch.nn.functional as F

torch.manual_seed(14)
FEATURES = 3
WEIGHT, BIAS = [1.5, -0.25, 3.0], [0.5, -2.0, 10.0]


def batch(*shape):
    """Values that f32 holds, too: whole multiples of 1/64, with another mean and scale per feature."""
    means = torch.tensor([0.0, -3.0, 40.0], dtype=torch.float64)
    scales = torch.tensor([1.0, 0.125, 8.0], dtype=torch.float64)
    x = torch.randn(*shape, dtype=torch.float64)
    view = [1, FEATURES] + [1] * (len(shape) - 2)
    return torch.round(64 * (x * scales.view(view) + means.view(view))) / 64


ROWS = [batch(6, FEATURES), batch(2, FEATURES), batch(5, FEATURES)]
PLANES = [batch(2, FEATURES, 4), batch(1, FEATURES, 2), batch(3, FEATURES, 1)]
WITH_EMPTY = [ROWS[0], torch.empty(0, FEATURES, dtype=torch.float64), ROWS[2]]
CONSTANT = [torch.tensor([[1.0, -3.0, 40.0]] * 4, dtype=torch.float64), ROWS[1]]


class Functional(torch.nn.Module):
    """`F.batch_norm`, which takes any combination of weight and bias."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = weight, bias
        self.running_mean = torch.zeros(FEATURES, dtype=torch.float64)
        self.running_var = torch.ones(FEATURES, dtype=torch.float64)
        self.num_batches_tracked = 0

    def forward(self, x):
        self.num_batches_tracked += self.training
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=self.training, momentum=0.1
        )


def module(**options):
    return torch.nn.BatchNorm1d(FEATURES, dtype=torch.float64, **options)


def affine(layer):
    layer.weight.data.copy_(torch.tensor(WEIGHT))
    if layer.bias is not None:
        layer.bias.data.copy_(torch.tensor(BIAS))
    return layer


def numbers(values):
    def text(x):
        if x != x:
            return "f64::NAN"
        if abs(x) == float("inf"):
            return "f64::INFINITY" if x > 0 else "f64::NEG_INFINITY"
        return repr(float(x))

    return "&[" + ", ".join(text(x) for x in values.detach().flatten().tolist()) + "]"


def optional(values):
    return "None" if values is None else f"Some({numbers(torch.as_tensor(values))})"


def case(name, layer, batches, eps=1e-5, momentum=0.1, track=True):
    weight, bias = layer.weight, layer.bias
    layer.train()
    ys = [layer(x) for x in batches]
    layer.eval()
    last = [x for x in batches if x.numel() > 0][-1]
    evaluated = layer(last)
    average = "None" if momentum is None else f"Some({momentum!r})"
    print("    Case {")
    print(f'        name: "{name}",')
    print(f"        eps: {eps!r}, momentum: {average}, track: {str(track).lower()},")
    print(f"        weight: {optional(weight)}, bias: {optional(bias)},")
    print("        batches: &[")
    for x, y in zip(batches, ys):
        n, inner = x.shape[0], x.shape[2] if x.dim() == 3 else 1
        print(f"            Trained {{ n: {n}, inner: {inner}, x: {numbers(x)}, y: {numbers(y)} }},")
    print("        ],")
    print(f"        evaluated: {numbers(evaluated)},")
    if track:
        print(f"        running_mean: {numbers(layer.running_mean)}, running_var: {numbers(layer.running_var)},")
        print(f"        num_batches_tracked: {int(layer.num_batches_tracked)},")
    else:
        print("        running_mean: &[], running_var: &[], num_batches_tracked: 0,")
    print("    },")


print("#[rustfmt::skip]")
print('#[allow(clippy::excessive_precision, clippy::unreadable_literal, reason = "as printed")]')
print("const CASES: &[Case] = &[")
case("defaults, rows", module(), ROWS)
case("defaults, planes", module(), PLANES)
case("weight and bias", affine(module()), PLANES)
case("eps 1e-3", module(eps=1e-3), ROWS, eps=1e-3)
case("momentum 0.3", module(momentum=0.3), PLANES, momentum=0.3)
for momentum in [0.0, 1.0, 2.0, -0.5]:
    case(f"momentum {momentum}", module(momentum=momentum), ROWS, momentum=momentum)
case("cumulative average", module(momentum=None), ROWS, momentum=None)
case("affine=False", module(affine=False), ROWS)
case("bias=False", affine(module(bias=False)), ROWS)
case("weight alone", Functional(torch.tensor(WEIGHT, dtype=torch.float64), None), ROWS)
case("bias alone", Functional(None, torch.tensor(BIAS, dtype=torch.float64)), PLANES)
case("track_running_stats=False", affine(module(track_running_stats=False)), PLANES, track=False)
case("an empty batch", affine(module()), WITH_EMPTY)
case("constant features", affine(module()), CONSTANT)
infinite = [ROWS[0].clone(), ROWS[1]]
infinite[0][2, 1] = float("inf")
infinite[0][3, 2] = float("nan")
case("NaN and infinity", module(), infinite)
print("];")
