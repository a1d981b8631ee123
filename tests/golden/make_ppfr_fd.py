#!/usr/bin/env python3
# Golden templates of ppfr_fd: python3 tests/golden/make_ppfr_fd.py > tests/golden/ppfr_fd.txt   (needs numpy)
# The image and the gates come from formulas that the test implements too. One line a mask (dropped coefficients of each colour, seed):
# channels, sum of squares and every 7th value of the unstandardised template, then sum of squares and every 97th value of the 192 x 2 x 2
# coefficients that numpy's pseudo-inverse of the whole linear map gives back.
import math
import numpy as np

S = 16
state = 12345
px = np.zeros((S, S, 3))
for y in range(S):
    for x in range(S):
        for c in range(3):
            state = (state * 1664525 + 1013904223) % 2**32
            px[y, x, c] = state >> 24
M = np.array([[.299, .587, .114], [-.168735892, -.331264108, .5], [.5, -.418687589, -.081312411]])
ycc = px @ M.T
ycc[..., 0] -= 128
D = np.array([[math.cos(math.pi * (2 * n + 1) * k / 16) * math.sqrt((1 if k == 0 else 2) / 8) for n in range(8)] for k in range(8)])
G = S // 8
coef = np.zeros((192, G * G))
for c in range(3):
    for i in range(G):
        for j in range(G):
            coef[c * 64:c * 64 + 64, i * G + j] = (D @ ycc[i * 8:i * 8 + 8, j * 8:j * 8 + 8, c] @ D.T).reshape(64)
gate = [(37 * c + 11) % 193 / 193 for c in range(192)]  # all different


class Philox:  # core/base/philox.c, stream RNG_MASK, step 0
    def __init__(self, seed, sample):
        self.key, self.counter, self.words = (seed & 0xffffffff, seed >> 32), [0, sample, 0, 20 << 24], []

    def word(self):
        if not self.words:
            k0, k1 = self.key
            c0, c1, c2, c3 = self.counter
            for _ in range(10):
                p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
                c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xffffffff, (p0 >> 32) ^ c3 ^ k1, p0 & 0xffffffff
                k0, k1 = (k0 + 0x9E3779B9) & 0xffffffff, (k1 + 0xBB67AE85) & 0xffffffff
            self.words = [c0, c1, c2, c3]
            self.counter[0] += 1
        return self.words.pop()

    def below(self, bound):
        product = self.word() * bound
        while product % 2**32 < 2**32 % bound:
            product = self.word() * bound
        return product >> 32

    def permutation(self, count):
        values = list(range(count))
        for i in range(count, 1, -1):
            j = self.below(i)
            values[i - 1], values[j] = values[j], values[i - 1]
        return values


for drop, seed in ((28, 1), (29, 7), (60, 2**40 + 3)):
    keep = []
    for colour in range(3):
        ranked = sorted(range(colour * 64, colour * 64 + 64), key=lambda c: gate[c])
        keep += sorted(ranked[drop:])
    C = len(keep)
    p, q = Philox(seed, 0).permutation(C), Philox(seed, 1).permutation(C)
    A = np.zeros((C, 192))
    for i in range(C):
        A[i, keep[p[q[i]]]] += 1
        A[i, keep[p[(q[i] + 1) % C]]] += 1
    assert np.linalg.matrix_rank(A) == C - (C % 2 == 0)
    t = A @ coef
    back = np.linalg.pinv(A) @ t
    t, back = t.reshape(-1), back.reshape(-1)
    print(drop, seed, C, '%.6f' % (t * t).sum(), ' '.join('%.5f' % v for v in t[::7]), '%.6f' % (back * back).sum(),
          ' '.join('%.5f' % v for v in back[::97]))
