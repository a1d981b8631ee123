#!/usr/bin/env python3
# Golden templates: python3 tests/golden/make_mask.py > tests/golden/mask.txt   (needs numpy)
# A 16 x 16 image from a linear congruential generator that the test implements too; one line a number of dropped coefficients:
# channels, then sum, sum of squares and every 37th value of the unstandardised coefficients.
import math, sys
import numpy as np

S = 16
seed = 12345
px = np.zeros((S, S, 3))
for y in range(S):
    for x in range(S):
        for c in range(3):
            seed = (seed * 1664525 + 1013904223) % 2**32
            px[y, x, c] = seed >> 24
M = np.array([[.299, .587, .114], [-.168735892, -.331264108, .5], [.5, -.418687589, -.081312411]])
ycc = px @ M.T
ycc[..., 0] -= 128
D = np.array([[math.cos(math.pi * (2 * n + 1) * k / 16) * math.sqrt((1 if k == 0 else 2) / 8) for n in range(8)] for k in range(8)])
zz = sorted(((u, v) for u in range(8) for v in range(8)), key=lambda t: (t[0] + t[1], t[1] if (t[0] + t[1]) % 2 else t[0]))
G = S // 8
coef = np.zeros((192, G, G))
for c in range(3):
    for i in range(G):
        for j in range(G):
            coef[c * 64:c * 64 + 64, i, j] = (D @ ycc[i * 8:i * 8 + 8, j * 8:j * 8 + 8, c] @ D.T).reshape(64)
for drop in (0, 1, 3, 10):
    gone = {u * 8 + v for u, v in zz[:drop]}
    keep = [c for c in range(192) if c % 64 not in gone]
    t = coef[keep].reshape(-1)
    print(drop, len(keep), '%.6f %.6f' % (t.sum(), (t * t).sum()), ' '.join('%.6f' % v for v in t[::37]))
