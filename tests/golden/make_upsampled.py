#!/usr/bin/python3
"""Writes upsampled.f32, what PyTorch (1.13) computes for tests/unit/freq/upsampled_test.c: raw little-endian float32.

Pixels (3,16,16), then weights (192,16,16) come from the generator x = x * 1664525 + 1013904223 (mod 2^32) from x = 1, value
(x >> 8) / 2^23 - 1; the pixels are 128 times that. In double: bilinear x8 up-sampling with aligned corners and a convolution
with the DCT's kernels, stride 8. Order of the file:
  every 37th coefficient of the pixels
  the gradient (3,16,16) of the sum of weights * coefficients, which is the adjoint of the weights
"""
import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

SIZE = 16


def lcg(count):
    x, out = 1, np.empty(count)
    for i in range(count):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = (x >> 8) / 8388608 - 1
    return torch.from_numpy(out)


def kernels():
    k = torch.arange(8).double()[:, None]
    n = torch.arange(8).double()[None]
    d = torch.cos(math.pi * (2 * n + 1) * k / 16) * math.sqrt(2 / 8)
    d[0] /= math.sqrt(2)
    return torch.einsum("ui,vj->uvij", d, d).reshape(64, 1, 8, 8)


def main():
    values = lcg(195 * SIZE * SIZE)
    pixels = (128 * values[: 3 * SIZE * SIZE]).reshape(3, 1, SIZE, SIZE).requires_grad_()
    weights = values[3 * SIZE * SIZE :].reshape(3, 64, SIZE, SIZE)
    large = F.interpolate(pixels, scale_factor=8, mode="bilinear", align_corners=True)
    coefficients = F.conv2d(large, kernels(), stride=8)
    (coefficients * weights).sum().backward()
    out = [coefficients.detach().numpy().ravel()[::37], pixels.grad.numpy().ravel()]
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "upsampled.f32")
    np.concatenate(out).astype("<f4").tofile(path)


if __name__ == "__main__":
    main()
