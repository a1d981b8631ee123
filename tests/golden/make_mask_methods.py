#!/usr/bin/env python3
# Golden templates of every method: python3 tests/golden/make_mask_methods.py > tests/golden/mask_methods.txt   (needs numpy)
# The image of make_mask.py; constants mean = c / 2 and deviation = 10 + c for channel c of the constants; seed 7; draws from
# rng_init(9, RNG_MASK, 3, 1). The up-sampled image is made here, and the random numbers are computed again from their
# definition. A line: method, transform, channels, sum, sum of squares and every 37th (up-sampled: 997th) value.
import math, sys
import numpy as np

S = 16


class Rng:
    """core/base/philox: Philox4x32-10, the words of a block from the last to the first."""

    def __init__(self, seed, stream, step, sample):
        self.key, self.counter, self.words = (seed & 0xffffffff, seed >> 32), [0, sample, step & 0xffffffff, stream << 24 | step >> 32], []

    def u32(self):
        if not self.words:
            (k0, k1), (c0, c1, c2, c3) = self.key, self.counter
            for _ in range(10):
                p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
                c0, c1, c2, c3 = p1 >> 32 ^ c1 ^ k0, p1 & 0xffffffff, p0 >> 32 ^ c3 ^ k1, p0 & 0xffffffff
                k0, k1 = (k0 + 0x9E3779B9) & 0xffffffff, (k1 + 0xBB67AE85) & 0xffffffff
            self.words, self.counter[0] = [c0, c1, c2, c3], self.counter[0] + 1
        return self.words.pop()

    def normal(self):
        u, v = ((self.u32() >> 8) + 1) / 2**24, (self.u32() >> 8) / 2**24
        return math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)

    def below(self, bound):
        while True:
            product = self.u32() * bound
            if product & 0xffffffff >= 2**32 % bound:
                return product >> 32

    def permutation(self, count):
        values = list(range(count))
        for i in range(count, 1, -1):
            j = self.below(i)
            values[i - 1], values[j] = values[j], values[i - 1]
        return values


RNG_MASK = 20
seed, px = 12345, np.zeros((S, S, 3))
for i in range(S * S * 3):
    seed = (seed * 1664525 + 1013904223) % 2**32
    px.reshape(-1)[i] = seed >> 24
TO_YCC = np.array([[.299, .587, .114], [-.168735892, -.331264108, .5], [.5, -.418687589, -.081312411]])
ycc = np.moveaxis(px @ TO_YCC.T, 2, 0).copy()
ycc[0] -= 128

D = np.array([[math.cos(math.pi * (2 * n + 1) * k / 16) * math.sqrt((1 if k == 0 else 2) / 8) for n in range(8)] for k in range(8)])


def blocks(n):  # the block DCT of one axis of n pixels: (8, n / 8, n)
    out = np.zeros((8, n // 8, n))
    for g in range(n // 8):
        out[:, g, 8 * g:8 * g + 8] = D
    return out


up = np.zeros((8 * S, S))
for j in range(8 * S):
    at = j * (S - 1) / (8 * S - 1)
    left = min(int(at), S - 2)
    up[j, left], up[j, left + 1] = 1 - (at - left), at - left
AXIS = {'native': blocks(S), 'upsampled': blocks(8 * S) @ up}


def forward(planes, dct):  # (3,S,S) -> (192,G,G)
    a = AXIS[dct]
    return np.einsum('ugy,cyx,vhx->cuvgh', a, planes, a, optimize=True).reshape(192, a.shape[1], a.shape[1])


def backward(coefficients, dct):  # least squares
    a = AXIS[dct].reshape(-1, S)
    g = coefficients.shape[1]
    c = coefficients.reshape(3, 8, 8, g, g).transpose(0, 1, 3, 2, 4).reshape(3, 8 * g, 8 * g)
    p = np.linalg.pinv(a)
    return np.einsum('yu,cuv,xv->cyx', p, c, p, optimize=True)


def standardise(raw, clip=0):
    c = np.arange(len(raw))[:, None, None]
    z = (raw - c / 2) / (10 + c)
    return np.clip(z, -clip, clip) if clip else z


def blur(rng, dct):
    sigma = 2
    taps = np.array([math.exp(-i * i / (2 * sigma**2)) for i in range(-4 * sigma, 4 * sigma + 1)])
    taps /= taps.sum()
    m = np.zeros((S, S))
    for y in range(S):
        for i, t in enumerate(taps):
            at = (y + i - 4 * sigma) % (2 * S)
            m[y, at if at < S else 2 * S - 1 - at] += t
    return standardise(forward(m @ ycc @ m.T, dct))


def instahide(rng, dct):
    z = standardise(forward(ycc, dct))
    c = np.arange(192)[:, None, None]
    mean = np.array([0, 64, 128]) / 2 / 8
    x = (backward(z * (10 + c) + c / 2, dct) - mean[:, None, None]).reshape(3, -1).T @ np.linalg.inv(TO_YCC).T
    left = 0
    for pixel in x:
        if left < 3:
            bits, left = rng.u32(), 32
        for i in range(3):
            pixel[i] *= -1 if bits & 1 else 1
            bits >>= 1
        left -= 3
    planes = (x @ TO_YCC.T + mean).T.reshape(3, S, S)
    return standardise(forward(planes, dct))


CLIENT = [0, 1, 2, 3, 4, 5, 8, 9, 16, 24]
PRUNED = [0, 1, 2, 3, 8, 9, 10, 16, 17, 24]


def duetface(rng, dct):
    return standardise(forward(ycc, dct)[[c for c in range(192) if c % 64 not in CLIENT]])


def partialface(rng, dct):
    z = standardise(forward(ycc, dct)[[c for c in range(192) if c % 64 not in PRUNED]])
    fixed = Rng(7, RNG_MASK, 2, 0)
    member = fixed.permutation(54)
    order = [fixed.permutation(27) for _ in range(3)]
    drawn = rng.below(18)
    shown = [54 * c + member[9 * (drawn // 3) + r] for c in range(3) for r in range(9)]
    return z[[shown[i] for i in order[drawn % 3]]]


def dctdp(rng, dct):
    z = standardise(forward(ycc, dct)[[c for c in range(192) if c % 64]], 3)
    flat = z.reshape(-1)
    budget = 1. + np.arange(flat.size) % 5  # the test sets these weights
    budget /= budget.mean()
    for i in range(flat.size):
        word = rng.u32()
        size = -math.log(((word >> 1) + 1) / 2**31) * 6 / budget[i]
        flat[i] += -size if word & 1 else size
    return z


def ldp_slicing(rng, dct):
    planes = ycc - np.repeat(np.repeat(ycc.reshape(3, S // 2, 2, S // 2, 2).mean((2, 4)), 2, 1), 2, 2)
    byte = np.clip(np.rint(planes + 128), 0, 255).astype(int)
    root = [[math.sqrt(w * 2**b) for b in range(8)] for w in (4, 1, 1)]
    total = sum(map(sum, root))
    for c in range(3):
        flat = byte[c].reshape(-1)
        for i in range(len(flat)):
            for b in range(8):
                flat[i] ^= (rng.u32() < int(2**32 / (1 + math.exp(20 * root[c][b] / total)))) << b
    return standardise(forward(byte - 128., dct))


def regional(rng, dct):
    z = standardise(forward(ycc, dct))
    g = z.shape[1]
    strength = np.full((g, g), .25)
    for i in range(g):
        for j in range(g):
            y, x = (i + .5) * 112 / g, (j + .5) * 112 / g
            if 24 <= y < 48 and 16 <= x < 96:
                strength[i, j] = .75
            elif 48 <= y < 72 and 40 <= x < 72 or 72 <= y < 96 and 32 <= x < 80:
                strength[i, j] = .5
    for c in range(192):
        for i in range(g):
            for j in range(g):
                z[c, i, j] = (1 - strength[i, j]) * z[c, i, j] + strength[i, j] * rng.normal()
    return z


for method in (blur, instahide, duetface, partialface, dctdp, ldp_slicing, regional):
    for dct in AXIS:
        z = method(Rng(9, RNG_MASK, 3, 1), dct)
        t = z.reshape(-1)
        print(method.__name__, dct, len(z), '%.5f %.5f' % (t.sum(), (t * t).sum()), ' '.join('%.5f' % v for v in t[::37 if dct == 'native' else 997]))
