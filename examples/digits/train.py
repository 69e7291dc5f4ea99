"""Trains the network that the example reads, and writes what is beside this file: model.safetensors, the network's
state dict, and held_out.safetensors, the digits that it has not seen, with PyTorch's logits for them.

    pip install torch scikit-learn safetensors && python examples/digits/train.py

The images are scikit-learn's `load_digits`: the test set of "Optical Recognition of Handwritten Digits" of the UCI
Machine Learning Repository (E. Alpaydin, C. Kaynak, 1998; CC BY 4.0). Each has 8x8 pixels from 0 to 16.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

HERE = Path(__file__).parent
HELD_OUT = 360


class Network(nn.Module):
    """Four convolutions, each with a batch norm. The last one adds its input before the ReLU, as a ResNet does."""

    def __init__(self):
        super().__init__()
        for layer, (channels_in, channels_out, stride) in enumerate([(1, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1)], 1):
            conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
            self.add_module(f"conv{layer}", conv)
            self.add_module(f"bn{layer}", nn.BatchNorm2d(channels_out))
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = self.bn3(self.conv3(x)).relu()
        x = (self.bn4(self.conv4(x)) + x).relu()
        return self.fc(x.mean((2, 3)))


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = load_digits(return_X_y=True)
    images, labels = torch.tensor(images, dtype=torch.uint8).reshape(-1, 1, 8, 8), torch.tensor(labels)
    order = torch.randperm(len(images))
    held_out, seen = order[:HELD_OUT], order[HELD_OUT:]
    inputs = images.float() / 16

    network = Network()
    epochs, batch = 30, 64
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    steps = epochs * -(-len(seen) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for epoch in range(epochs):
        for part in seen[torch.randperm(len(seen))].split(batch):
            optimizer.zero_grad()
            loss = cross_entropy(network(inputs[part]), labels[part])
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1:2}  loss {loss.item():.4f}")

    network.eval()
    with torch.no_grad():
        logits = network(inputs[held_out])
    accuracy = (logits.argmax(1) == labels[held_out]).float().mean()
    print(f"held out: {HELD_OUT} digits, accuracy {accuracy:.4f}")
    save_file(network.state_dict(), HERE / "model.safetensors")
    known = {"images": images[held_out], "labels": labels[held_out].to(torch.uint8), "logits": logits}
    save_file({name: tensor.contiguous() for name, tensor in known.items()}, HERE / "held_out.safetensors")


if __name__ == "__main__":
    main()
