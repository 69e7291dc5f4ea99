"""Writes state.safetensors: the batch-norm layers of a small model, as PyTorch saves them. Run by hand, with PyTorch and
its package safetensors; then checks that PyTorch loads what this crate has written, if it is given a file:

    python tests/interop/state.py [FILE]
"""

import sys

import torch
from safetensors.torch import load_file, save_file


def model():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3),
        torch.nn.BatchNorm2d(3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(3, 5, 3),
        torch.nn.BatchNorm2d(5, affine=False),
        torch.nn.Flatten(),
        torch.nn.Linear(5 * 4 * 4, 4),
        torch.nn.BatchNorm1d(4, track_running_stats=False),
        torch.nn.Linear(4, 2),
        torch.nn.BatchNorm1d(2).to(torch.float64),
    )


net = model()
with torch.no_grad():
    for layer in net:
        for name, parameter in layer.named_parameters():
            if isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                parameter.uniform_(-1, 1)
for _ in range(3):
    x = torch.randn(8, 1, 8, 8) * 2 + 3
    for layer in net[:-1]:
        x = layer(x)
    net[-1](x.double())
if len(sys.argv) == 1:
    state = net.state_dict()
    state["4.running_mean"] = state["4.running_mean"].to(torch.float16)
    state["4.running_var"] = state["4.running_var"].to(torch.bfloat16)
    save_file(state, "tests/interop/state.safetensors")
    for name, tensor in state.items():
        if "running" in name or "num" in name:
            print(name, tensor.dtype, tensor.tolist())
else:
    other = model()
    print(other.load_state_dict({**net.state_dict(), **load_file(sys.argv[1])}))
    for name, tensor in other.state_dict().items():
        print(name, bool((tensor == net.state_dict()[name]).all()))
