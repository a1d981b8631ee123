#!/usr/bin/python3
"""Writes nn.f32, what PyTorch (1.13) computes for the networks of tests/unit/nn/golden_test.c: raw little-endian float32.

Weights and inputs come from the generator x = x * 1664525 + 1013904223 (mod 2^32), value (x >> 8) / 2^23 - 1, drawn in
the order of the network's parameters, so that both sides make them. Order of the file:
  training   3 losses, embeddings (6,8) in evaluation mode after 3 steps, then every parameter and running statistic
  each architecture (freq_ir, freq_conv, iresnet18, iresnet50, mobilefacenet)
             embeddings in training mode, embeddings in evaluation mode after it, the norm of each parameter's gradient,
             the gradient of the input
  head       for both kinds and both sorts of negatives: 4 losses, the gradients of embeddings and of classes
  generator, discriminator
             3 losses, the output in evaluation mode after 3 steps of Adam (AdamW), then every parameter and statistic
"""
import math
import os
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

STATE = 1


def lcg(count):
    """The next `count` values; by doubling, x[n+k] = A x[n] + C."""
    global STATE
    a, c = np.uint32(1664525), np.uint32(1013904223)
    x = np.array([(int(STATE) * int(a) + int(c)) & 0xFFFFFFFF], np.uint32)
    while len(x) < count:
        with np.errstate(over="ignore"):
            x = np.concatenate([x, x * a + c])
            c = np.uint32((int(a) * int(c) + int(c)) & 0xFFFFFFFF)
            a = np.uint32((int(a) * int(a)) & 0xFFFFFFFF)
    x = x[:count]
    STATE = int(x[-1])
    return (x >> np.uint32(8)).astype(np.float32) / np.float32(8388608) - np.float32(1)


def values(shape, scale=1.0, shift=0.0):
    n = int(np.prod(shape))
    return torch.from_numpy((lcg(n) * np.float32(scale) + np.float32(shift)).reshape(shape))


def fill(net):
    for module in net.modules():
        for name, p in module.named_parameters(recurse=False):
            if p.dim() > 1:
                v = values(p.shape, 1.5 / math.sqrt(p[0].numel()))
            elif isinstance(module, nn.PReLU):
                v = values(p.shape, 0.1, 0.25)
            elif name == "weight":
                v = values(p.shape, 0.2, 1.0)
            else:
                v = values(p.shape, 0.1)
            with torch.no_grad():
                p.copy_(v)


class Block(nn.Module):
    def __init__(s, i, o, st, shortcut):
        super().__init__()
        s.b1 = nn.BatchNorm2d(i)
        s.c1 = nn.Conv2d(i, o, 3, 1, 1, bias=False)
        s.b2 = nn.BatchNorm2d(o)
        s.p = nn.PReLU(o)
        s.c2 = nn.Conv2d(o, o, 3, st, 1, bias=False)
        s.b3 = nn.BatchNorm2d(o)
        s.d = nn.Sequential(nn.Conv2d(i, o, 1, st, bias=False), nn.BatchNorm2d(o)) if shortcut else None

    def forward(s, x):
        y = s.b3(s.c2(s.p(s.b2(s.c1(s.b1(x))))))
        return y + (s.d(x) if s.d is not None else x)


class Net(nn.Module):
    """stem conv BN PReLU, blocks, BN, linear, BN: freq_ir, freq_conv and IResNet are rows of it."""

    def __init__(s, cin, stem, stride, blocks, side, embedding):
        super().__init__()
        s.stem = nn.Sequential(nn.Conv2d(cin, stem, 3, stride, 1, bias=False), nn.BatchNorm2d(stem), nn.PReLU(stem))
        s.body = nn.Sequential(*[Block(i, o, st, st > 1 or i != o) for i, o, st in blocks])
        last = blocks[-1][1]
        s.bn = nn.BatchNorm2d(last)
        s.fc = nn.Linear(last * side * side, embedding)
        s.bo = nn.BatchNorm1d(embedding)

    def forward(s, x):
        return s.bo(s.fc(s.bn(s.body(s.stem(x))).flatten(1)))


class Unit(nn.Module):
    def __init__(s, i, o, k, st, p, g=1, slope=True):
        super().__init__()
        s.c = nn.Conv2d(i, o, k, st, p, groups=g, bias=False)
        s.b = nn.BatchNorm2d(o)
        s.p = nn.PReLU(o) if slope else nn.Identity()

    def forward(s, x):
        return s.p(s.b(s.c(x)))


class Bottleneck(nn.Module):
    def __init__(s, i, o, st, t):
        super().__init__()
        h = i * t
        s.residual = st == 1 and i == o
        s.n = nn.Sequential(Unit(i, h, 1, 1, 0), Unit(h, h, 3, st, 1, h), Unit(h, o, 1, 1, 0, slope=False))

    def forward(s, x):
        return s.n(x) + x if s.residual else s.n(x)


class MobileFaceNet(nn.Module):
    """With all channel counts multiplied by `width` (a multiple of 1/4), for pixels of 16 * side."""

    def __init__(s, width, side, embedding):
        super().__init__()
        i = int(64 * width)
        layers = [Unit(3, i, 3, 2, 1), Unit(i, i, 3, 1, 1, i)]
        for t, c, n, st in [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)]:
            for k in range(n):
                layers.append(Bottleneck(i, int(c * width), st if k == 0 else 1, t))
                i = int(c * width)
        last = int(512 * width)
        layers += [Unit(i, last, 1, 1, 0), Unit(last, last, side, 1, 0, last, False)]
        s.n = nn.Sequential(*layers)
        s.l = nn.Linear(last, embedding, bias=False)
        s.b = nn.BatchNorm1d(embedding)

    def forward(s, x):
        return s.b(s.l(s.n(x).flatten(1)))


def dct_kernels():
    k = torch.arange(8).double()[:, None]
    n = torch.arange(8).double()[None]
    d = torch.cos(math.pi * (2 * n + 1) * k / 16) * math.sqrt(2 / 8)
    d[0] /= math.sqrt(2)
    return torch.einsum("ui,vj->uvij", d, d).reshape(64, 1, 8, 8).float()


KERNELS = dct_kernels()
CHANNELS = [0, 1, 8, 9, 20, 63, 64, 66, 100, 128, 137, 190]
GRID = 4


def idct(x):
    """(B,12,G,G) standardised -> pixels / 40."""
    mean = torch.tensor([0.5 * i - 2 for i in range(12)])
    deviation = torch.tensor([30.0 - 2 * i for i in range(12)])
    full = torch.zeros(x.shape[0], 192, GRID, GRID)
    full[:, CHANNELS] = x * deviation[:, None, None] + mean[:, None, None]
    y = F.conv_transpose2d(full.reshape(-1, 64, GRID, GRID), KERNELS, stride=8)
    return y.reshape(x.shape[0], 3, 8 * GRID, 8 * GRID) / 40


def emit(out, tensor):
    out.append(tensor.detach().numpy().astype("<f4").ravel())


def training(out):
    global STATE
    STATE = 11
    net = Net(3, 16, 2, [(16, 16, 1), (16, 32, 2)], 4, 8)
    fill(net)
    w = nn.Parameter(values((5, 8)))
    x = values((6, 3, 16, 16))
    y = torch.arange(6) % 5
    decayed = [p for p in net.parameters() if p.dim() > 1] + [w]
    rest = [p for p in net.parameters() if p.dim() <= 1]
    sgd = torch.optim.SGD([dict(params=decayed, weight_decay=5e-4), dict(params=rest, weight_decay=0)], lr=0.05,
                          momentum=0.9)
    for _ in range(3):
        cosines = F.normalize(net(x)) @ F.normalize(w).T
        loss = F.cross_entropy(10 * (cosines - 0.3 * F.one_hot(y, 5)), y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        emit(out, loss)
    net.eval()
    emit(out, net(x))
    for module in net.modules():
        for p in module.parameters(recurse=False):
            emit(out, p)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            emit(out, module.running_mean)
            emit(out, module.running_var)


def architecture(out, net, pixels, embedding):
    global STATE
    STATE = 23
    fill(net)
    x = values((6, 12, GRID, GRID)).requires_grad_()
    z = net(idct(x) if pixels else x)
    emit(out, z)
    z.backward(values((6, embedding)))
    gradients = [p.grad.double().norm().float() for p in net.parameters()]
    net.eval()
    emit(out, net(idct(x) if pixels else x))
    for g in gradients:
        emit(out, g)
    emit(out, x.grad)


def head(out, arc, others):
    """Mixed labels: L0 = sum_j lambda_j l_j (docs: margin softmax with mixed labels)."""
    global STATE
    STATE = 5
    e = values((4, 6)).double().requires_grad_()
    w = values((7, 6)).double().requires_grad_()
    labels = [[(2, 1.0)], [(0, 0.6), (3, 0.4)], [(6, 0.5), (1, 0.3), (4, 0.2)], [(5, 0.35), (2, 0.65)]]
    s, m = 16.0, 0.4
    cosines = F.normalize(e) @ F.normalize(w).T
    losses = []
    for i, mix in enumerate(labels):
        most = max(l for _, l in mix)
        total = 0
        for y, l in mix:
            t = cosines[i, y]
            mj = m * l / most
            if not arc:
                target = t - mj
            elif t < math.cos(math.pi - mj):
                target = t - mj * math.sin(mj)
            else:
                target = torch.cos(torch.acos(t) + mj)
            out_of_sum = {q for q, _ in mix} if others else {y}
            negatives = torch.stack([s * cosines[i, c] for c in range(7) if c not in out_of_sum] + [s * target])
            total = total + l * (torch.logsumexp(negatives, 0) - s * target)
        losses.append(total)
    losses = torch.stack(losses)
    losses.mean().backward()
    emit(out, losses)
    emit(out, e.grad)
    emit(out, w.grad)


class ConditionalNorm(nn.Module):
    """Batch norm with rows of tables as gain and bias (arXiv 1707.00683)."""

    def __init__(s, classes, channels):
        super().__init__()
        s.weight = nn.Parameter(torch.ones(classes, channels))
        s.bias = nn.Parameter(torch.zeros(classes, channels))
        s.register_buffer("running_mean", torch.zeros(channels))
        s.register_buffer("running_var", torch.ones(channels))

    def forward(s, x, y):
        x = F.batch_norm(x, s.running_mean, s.running_var, None, None, s.training, 0.1, 1e-5)
        return s.weight[y][:, :, None, None] * x + s.bias[y][:, :, None, None]


class Generator(nn.Module):
    def __init__(s):
        super().__init__()
        s.linear = nn.Linear(8, 108, bias=False)
        s.norm1 = ConditionalNorm(3, 12)
        s.conv = nn.Conv2d(12, 10, 3, 1, 1, bias=False)
        s.norm2 = ConditionalNorm(3, 10)
        s.up = nn.ConvTranspose2d(10, 3, 4, 2, 1)

    def forward(s, z, y):
        x = F.leaky_relu(s.norm1(s.linear(z).reshape(-1, 12, 3, 3), y), 0.2)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = F.leaky_relu(s.norm2(s.conv(x), y), 0.2)
        return torch.tanh(s.up(x))


class Discriminator(nn.Module):
    def __init__(s):
        super().__init__()
        spectral = nn.utils.spectral_norm
        s.conv1 = spectral(nn.Conv2d(3, 16, 4, 2, 1))
        s.conv2 = spectral(nn.Conv2d(16, 24, 3, 1, 1, bias=False))
        s.norm = nn.GroupNorm(4, 24)
        s.linear = spectral(nn.Linear(24 * 9, 1))

    def forward(s, x):
        x = F.leaky_relu(s.norm(s.conv2(F.leaky_relu(s.conv1(x), 0.2))), 0.2)
        return torch.sigmoid(s.linear(F.avg_pool2d(x, 2).flatten(1)))


def tensors(net):
    """(tensor, what it is) in the order of the engine's parameters."""
    for module in net.children():
        norm = isinstance(module, (ConditionalNorm, nn.GroupNorm))
        yield getattr(module, "weight_orig", module.weight), "gain" if norm else "weight"
        if module.bias is not None:
            yield module.bias, "bias"
        for name in ("weight_u", "weight_v"):
            if hasattr(module, name):
                yield getattr(module, name), "vector"
        if isinstance(module, ConditionalNorm):
            yield module.running_mean, "running"
            yield module.running_var, "running"


def fill_parts(net):
    for p, what in tensors(net):
        if what == "running":
            continue
        scale = {"gain": 0.2, "bias": 0.1, "vector": 1.0, "weight": 1.5 / math.sqrt(p[0].numel())}[what]
        with torch.no_grad():
            p.copy_(values(p.shape, scale, 1.0 if what == "gain" else 0.0))


def steps(out, net, kind, loss_of, output):
    decayed = [p for p, what in tensors(net) if what == "weight"]
    rest = [p for p, what in tensors(net) if what in ("gain", "bias")]
    optimizer = kind([dict(params=decayed, weight_decay=0.01), dict(params=rest, weight_decay=0)], lr=0.01,
                     betas=(0.5, 0.99), eps=1e-5)
    for _ in range(3):
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        emit(out, loss)
    net.eval()
    emit(out, output())
    for p, _ in tensors(net):
        emit(out, p)


def generator(out):
    global STATE
    STATE = 31
    net = Generator()
    fill_parts(net)
    z, target = values((6, 8)), values((6, 3, 12, 12))
    y = torch.arange(6) % 3
    steps(out, net, torch.optim.Adam, lambda: F.mse_loss(net(z, y), target), lambda: net(z, y))


def discriminator(out):
    global STATE
    STATE = 37
    net = Discriminator()
    fill_parts(net)
    x, y = values((6, 3, 12, 12)), (torch.arange(6) % 2).float()[:, None]
    steps(out, net, torch.optim.AdamW, lambda: F.binary_cross_entropy(net(x), y), lambda: net(x))


def main():
    torch.set_num_threads(1)
    out = []
    training(out)
    ir = [(32, 32, 2), (32, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
    fc = [(64, 64, 1), (64, 128, 1), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
    # IResNet-18 at a quarter of its width
    r18 = [(16, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
    architecture(out, Net(3, 32, 2, ir, 2, 128), True, 128)
    architecture(out, Net(12, 64, 1, fc, 2, 128), False, 128)
    architecture(out, Net(3, 16, 1, r18, 2, 512), True, 512)
    # IResNet-50 at a quarter of its width
    r50, i = [], 16
    for n, c in zip((3, 4, 14, 3), (16, 32, 64, 128)):
        for k in range(n):
            r50.append((i, c, 2 if k == 0 else 1))
            i = c
    architecture(out, Net(3, 16, 1, r50, 2, 512), True, 512)
    architecture(out, MobileFaceNet(0.25, 2, 512), True, 512)
    for arc in (False, True):
        for others in (True, False):
            head(out, arc, others)
    generator(out)
    discriminator(out)
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "nn.f32")
    np.concatenate(out).tofile(path)


if __name__ == "__main__":
    main()
