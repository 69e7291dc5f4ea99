"""Writes PyTorch's gradients of batch normalisation in f64 to backward.txt. (PyTorch 2.15.0 on a CPU made it.)

Each case is a line of words: its name, mode, ReLU, layout, eps; then lines of numbers for x, dy, y, weight,
running_mean, running_var, dx, the gradient of the weight and that of the bias.
"""

import torch
import torch.nn.functional as F

torch.manual_seed(7)
out = []
for name, shape, mean in [("rows", (7, 3), 0.0), ("planes", (2, 3, 5), 2.0), ("images", (2, 2, 3, 3), -100.0)]:
    for training in (True, False):
        for relu in (True, False):
            for eps in (1e-5, 1e-3):
                c = shape[1]
                x = (torch.randn(shape, dtype=torch.float64) + mean).requires_grad_()
                dy = torch.randn(shape, dtype=torch.float64)
                weight = torch.randn(c, dtype=torch.float64).requires_grad_()
                bias = torch.randn(c, dtype=torch.float64).requires_grad_()
                running = [torch.randn(c, dtype=torch.float64) + mean, torch.rand(c, dtype=torch.float64) + 0.5]
                constants = [r.clone() for r in running]
                y = F.batch_norm(x, *running, weight, bias, training, 0.1, eps)
                y = F.relu(y) if relu else y
                y.backward(dy)
                inner = x[0, 0].numel()
                out.append(f"{name} {'train' if training else 'eval'} {'relu' if relu else 'none'} {shape[0]} {c} {inner} {eps}")
                for values in (x, dy, y, weight, *constants, x.grad, weight.grad, bias.grad):
                    out.append(" ".join(f"{v.item():.17g}" for v in values.detach().flatten()))
with open("backward.txt", "w") as f:
    f.write("\n".join(out) + "\n")
