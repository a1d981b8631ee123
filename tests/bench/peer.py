#!/usr/bin/python3
"""The same training steps in PyTorch, for tests/bench/compare: prints images a second and the peak of resident memory.

  peer.py ARCH [--batch N] [--threads N] [--steps N] [--bf16] [--infer]

ARCH: iresnet18, iresnet50, mobilefacenet (pixels) or freq_ir (8-bit pixels through the block DCT with the 3 lowest
coefficients of each colour dropped, standardised, clipped, and back through the inverse: masking is part of the step).
Tensors are channels_last; inference is traced, frozen and optimised. Run it with tcmalloc preloaded and the variables of
OpenBLAS unset: that is PyTorch at its best.
"""
import argparse
import contextlib
import math
import os
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(s, i, o, st, shortcut):
        super().__init__()
        s.b1, s.c1, s.b2 = nn.BatchNorm2d(i), nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        s.p, s.c2, s.b3 = nn.PReLU(o), nn.Conv2d(o, o, 3, st, 1, bias=False), nn.BatchNorm2d(o)
        s.d = nn.Sequential(nn.Conv2d(i, o, 1, st, bias=False), nn.BatchNorm2d(o)) if shortcut else None

    def forward(s, x):
        y = s.b3(s.c2(s.p(s.b2(s.c1(s.b1(x))))))
        return y + (s.d(x) if s.d is not None else x)


class Residual(nn.Module):
    def __init__(s, stem, stride, blocks, side, embedding):
        super().__init__()
        s.stem = nn.Sequential(nn.Conv2d(3, stem, 3, stride, 1, bias=False), nn.BatchNorm2d(stem), nn.PReLU(stem))
        s.body = nn.Sequential(*[Block(i, o, st, st > 1 or i != o) for i, o, st in blocks])
        s.b, s.f = nn.BatchNorm2d(blocks[-1][1]), nn.Linear(blocks[-1][1] * side * side, embedding)
        s.e = nn.BatchNorm1d(embedding)

    def forward(s, x):
        return s.e(s.f(F.dropout(s.b(s.body(s.stem(x))).flatten(1), 0.2, s.training)))


class Unit(nn.Module):
    def __init__(s, i, o, k, st, p, g=1, slope=True):
        super().__init__()
        s.c, s.b = nn.Conv2d(i, o, k, st, p, groups=g, bias=False), nn.BatchNorm2d(o)
        s.p = nn.PReLU(o) if slope else nn.Identity()

    def forward(s, x):
        return s.p(s.b(s.c(x)))


class Bottleneck(nn.Module):
    def __init__(s, i, o, st, t):
        super().__init__()
        s.residual = st == 1 and i == o
        s.n = nn.Sequential(Unit(i, i * t, 1, 1, 0), Unit(i * t, i * t, 3, st, 1, i * t), Unit(i * t, o, 1, 1, 0, slope=False))

    def forward(s, x):
        return x + s.n(x) if s.residual else s.n(x)


class MobileFaceNet(nn.Module):
    def __init__(s, embedding=512):
        super().__init__()
        layers, i = [Unit(3, 64, 3, 2, 1), Unit(64, 64, 3, 1, 1, 64)], 64
        for t, c, n, st in [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)]:
            for k in range(n):
                layers.append(Bottleneck(i, c, st if k == 0 else 1, t))
                i = c
        layers += [Unit(128, 512, 1, 1, 0), Unit(512, 512, 7, 1, 0, 512, slope=False)]
        s.n, s.f, s.e = nn.Sequential(*layers), nn.Linear(512, embedding, bias=False), nn.BatchNorm1d(embedding)

    def forward(s, x):
        return s.e(s.f(s.n(x).flatten(1)))


class Head(nn.Module):
    """CosFace, s = 30, m = .3."""

    def __init__(s, embedding, classes):
        super().__init__()
        s.w = nn.Parameter(torch.randn(classes, embedding) * 0.01)

    def forward(s, e, y):
        c = F.linear(F.normalize(e), F.normalize(s.w))
        return F.cross_entropy(30 * (c - 0.3 * F.one_hot(y, len(s.w))), y)


def iresnet(depths):
    blocks, i = [], 64
    for n, c in zip(depths, (64, 128, 256, 512)):
        for k in range(n):
            blocks.append((i, c, 2 if k == 0 else 1))
            i = c
    return Residual(64, 1, blocks, 7, 512)


def make(arch):
    if arch == "iresnet18":
        return iresnet((2, 2, 2, 2)), 512
    if arch == "iresnet50":
        return iresnet((3, 4, 14, 3)), 512
    if arch == "mobilefacenet":
        return MobileFaceNet(), 512
    blocks = [(32, 32, 2), (32, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
    return Residual(32, 2, blocks, 7, 128), 128


class Masking:
    """8-bit (B,112,112,3) -> block DCT, low coefficients dropped, standardised, clipped at 3 -> inverse block DCT."""

    def __init__(s, images):
        k, n = torch.arange(8).float()[:, None], torch.arange(8).float()[None]
        d = torch.cos(math.pi * (2 * n + 1) * k / 16) * math.sqrt(2 / 8)
        d[0] /= math.sqrt(2)
        s.kernels = torch.einsum("ui,vj->uvij", d, d).reshape(64, 1, 8, 8)
        s.colours = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
        s.keep = [c for c in range(64) if c not in (0, 1, 8)]
        z = s.dct(images)
        s.mean, s.deviation = z.mean((0, 3, 4), keepdim=True), z.std((0, 3, 4), keepdim=True)

    def dct(s, x):
        x = x.float() @ s.colours.T
        x[..., 0] -= 128
        z = F.conv2d(x.permute(0, 3, 1, 2).reshape(-1, 1, 112, 112), s.kernels, stride=8)
        return z.reshape(-1, 3, 64, 14, 14)[:, :, s.keep]

    def __call__(s, x):
        z = ((s.dct(x) - s.mean) / s.deviation).clamp(-3, 3) * s.deviation + s.mean
        full = torch.zeros(len(x), 3, 64, 14, 14)
        full[:, :, s.keep] = z
        y = F.conv_transpose2d(full.reshape(-1, 64, 14, 14), s.kernels, stride=8)
        return (y / 40).reshape(-1, 3, 112, 112).contiguous(memory_format=torch.channels_last)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("arch", choices=["iresnet18", "iresnet50", "mobilefacenet", "freq_ir"])
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments.add_argument("--steps", type=int, default=7)
    arguments.add_argument("--classes", type=int, default=1000)
    arguments.add_argument("--bf16", action="store_true")
    arguments.add_argument("--infer", action="store_true")
    a = arguments.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    net, embedding = make(a.arch)
    net = net.to(memory_format=torch.channels_last)
    if a.arch == "freq_ir":
        source = torch.randint(0, 256, (a.batch, 112, 112, 3), dtype=torch.uint8)
        prepare = Masking(source)
    else:
        source = torch.randn(a.batch, 3, 112, 112).contiguous(memory_format=torch.channels_last)
        prepare = lambda x: x
    y = torch.randint(0, a.classes, (a.batch,))
    precision = torch.cpu.amp.autocast(dtype=torch.bfloat16) if a.bf16 else contextlib.nullcontext()
    head = Head(embedding, a.classes)
    if a.infer:
        net.eval()
        with torch.no_grad():
            f = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, prepare(source))))

        def step():
            with torch.no_grad(), precision:
                f(prepare(source))
    else:
        sgd = torch.optim.SGD([*net.parameters(), *head.parameters()], lr=0.01, momentum=0.9, weight_decay=5e-4)

        def step():
            sgd.zero_grad(set_to_none=True)
            with precision:
                e = net(prepare(source))
            head(e.float(), y).backward()
            sgd.step()

    times = []
    for i in range(a.steps + 2):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    times = times[2:]
    print("pytorch %s, batch %d, %d threads: %.1f images/s (min %.1f, max %.1f), peak %d MiB" %
          (a.arch, a.batch, a.threads, a.batch / statistics.median(times), a.batch / max(times), a.batch / min(times),
           resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


if __name__ == "__main__":
    main()
