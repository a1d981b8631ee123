#!/usr/bin/env python3
"""Reference values for core/metric, written out from the definitions in plain Python (no numpy, no shortcuts).

    python3 tests/golden/make_metric.py > tests/golden/metric.txt

Inputs come from a small generator that the C test repeats, so that only results are stored."""
import math


def lcg(seed):
    state = seed
    while True:
        state = (state * 1103515245 + 12345) % 2**31
        yield state >> 16  # 15 bits


def images(planes, size, noise, seed):
    """A smooth picture and the same with noise; values are multiples of 1/16, exact in float32."""
    random = lcg(seed)
    a, b = [], []
    for p in range(planes):
        for y in range(size):
            for x in range(size):
                value = (40 * p + 5 * x + 3 * y + (next(random) % 64)) % 256
                a.append(float(value))
                b.append(value + (next(random) % (2 * noise * 16 + 1) - noise * 16) / 16)
    return a, b


def psnr(a, b):
    mse = sum((x - y) ** 2 for x, y in zip(a, b)) / len(a)
    return min(100.0, 10 * math.log10(255**2 / mse)) if mse else 100.0


def ssim(a, b, planes, size):
    """Wang et al. 2004, equations 13-16, the window laid over every position that is fully inside."""
    g = [[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)] for i in range(11)]
    total = sum(map(sum, g))
    g = [[w / total for w in row] for row in g]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for p in range(planes):
        for y in range(size - 10):
            for x in range(size - 10):
                at = [(g[i][j], p * size * size + (y + i) * size + x + j) for i in range(11) for j in range(11)]
                ma = sum(w * a[k] for w, k in at)
                mb = sum(w * b[k] for w, k in at)
                va = sum(w * (a[k] - ma) ** 2 for w, k in at)
                vb = sum(w * (b[k] - mb) ** 2 for w, k in at)
                cov = sum(w * (a[k] - ma) * (b[k] - mb) for w, k in at)
                values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return sum(values) / len(values)


def scores(pairs, levels, seed):
    """Overlapping similarities with many ties; exact in float32."""
    random = lcg(seed)
    result = []
    for i in range(pairs):
        same = next(random) % 2 == 0
        value = (next(random) % levels + (levels // 3 if same else 0)) / 256
        result.append((value, same, next(random) % 10))
    return result


def accuracy(pairs, threshold):
    return sum((s > threshold) == same for s, same, _ in pairs) / len(pairs)


def best_threshold(pairs):
    distinct = sorted({s for s, _, _ in pairs}, reverse=True)
    edge = lambda s: 1e-3 * max(1, abs(s))
    tries = [distinct[0] + edge(distinct[0])]
    tries += [(u + v) / 2 for u, v in zip(distinct, distinct[1:])]
    tries += [distinct[-1] - edge(distinct[-1])]
    return max(tries, key=lambda t: accuracy(pairs, t))  # max takes the first, the highest threshold


def verification(pairs):
    folds = []
    for f in range(10):
        test = [p for p in pairs if p[2] == f]
        if test:
            folds.append(accuracy(test, best_threshold([p for p in pairs if p[2] != f])))
    mean = sum(folds) / len(folds)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in folds) / len(folds))
    positive = [s for s, same, _ in pairs if same]
    negative = [s for s, same, _ in pairs if not same]
    auroc = sum((p > n) + (p == n) / 2 for p in positive for n in negative) / (len(positive) * len(negative))
    curve = [(0.0, 1.0)]
    for t in sorted({s for s, _, _ in pairs}, reverse=True):
        curve.append((sum(n >= t for n in negative) / len(negative), sum(p < t for p in positive) / len(positive)))
    for (far0, frr0), (far1, frr1) in zip(curve, curve[1:]):
        if far1 >= frr1:
            t = (frr0 - far0) / ((frr0 - far0) - (frr1 - far1))
            eer = far0 + t * (far1 - far0)
            break
    tar = [max(1 - frr for far, frr in curve if far <= limit) for limit in (1e-2, 1e-3)]
    return [mean, deviation, best_threshold(pairs), eer, auroc] + tar


def matrix(rows, columns, people, levels, seed):
    """Similarities with ties, exact in float32, and for each pair whether it is ignored, the same or different."""
    random = lcg(seed)
    owner_r = [next(random) % people for _ in range(rows)]
    owner_c = [next(random) % people for _ in range(columns)]
    score, kind = [], []
    for r in range(rows):
        for c in range(columns):
            same = owner_r[r] == owner_c[c]
            ignored = next(random) % 16 == 0
            score.append((next(random) % levels + (levels // 3 if same else 0)) / 256)
            kind.append(0 if ignored else 1 if same else 2)
    return owner_r, owner_c, score, kind


def tenth(values_by_person):
    own = sorted((sum(v) / len(v) for v in values_by_person.values()), reverse=True)
    own = own[: (len(own) + 9) // 10]
    return sum(own) / len(own)


def matching(rows, columns, owner_r, score, kind):
    """TAR at FAR 1e-2 and 1e-3, rank-1 and AUROC, then each figure's highest tenth of people; from the definitions."""
    pairs = [(score[r * columns + c], kind[r * columns + c], owner_r[r]) for r in range(rows) for c in range(columns)]
    same = [(s, p) for s, k, p in pairs if k == 1]
    different = [s for s, k, _ in pairs if k == 2]
    figures, worst = [], []
    for limit, least in ((1e-2, 1000), (1e-3, 10000)):
        # a pair is accepted when the pairs of different people at least as similar are few enough
        accepted = {}
        for t in {s for s, _ in same}:
            accepted[t] = sum(d >= t for d in different) <= limit * len(different)
        by = {}
        for s, p in same:
            by.setdefault(p, []).append(accepted[s])
        few = len(different) < least
        figures.append(math.nan if few else sum(accepted[s] for s, _ in same) / len(same))
        worst.append(math.nan if few else tenth(by))
    by, hits = {}, []
    for r in range(rows):
        line = [(score[r * columns + c], kind[r * columns + c]) for c in range(columns)]
        mine, others = [s for s, k in line if k == 1], [s for s, k in line if k == 2]
        if mine:
            hits.append(max(mine) > max(others))
            by.setdefault(owner_r[r], []).append(hits[-1])
    figures.append(sum(hits) / len(hits))
    worst.append(tenth(by))
    by, area = {}, []
    for s, p in same:
        area.append(sum((s > d) + (s == d) / 2 for d in different) / len(different))
        by.setdefault(p, []).append(area[-1])
    figures.append(sum(area) / len(area))
    worst.append(tenth(by))
    return figures + worst


def main():
    for planes, size, noise, seed in [(1, 11, 4, 1), (3, 16, 30, 2), (2, 24, 100, 3)]:
        a, b = images(planes, size, noise, seed)
        print("quality", planes, size, noise, seed, f"{psnr(a, b):.12g} {ssim(a, b, planes, size):.12g}")
    for pairs, levels, seed in [(60, 50, 4), (600, 40, 5), (3000, 400, 6)]:
        print("verification", pairs, levels, seed, *[f"{v:.12g}" for v in verification(scores(pairs, levels, seed))])
    for rows, columns, people, levels, seed in [(30, 25, 8, 40, 7), (50, 60, 12, 300, 8), (120, 100, 30, 2000, 9)]:
        owner_r, _, score, kind = matrix(rows, columns, people, levels, seed)
        values = matching(rows, columns, owner_r, score, kind)
        print("match", rows, columns, people, levels, seed, *[f"{v:.12g}" for v in values])


if __name__ == "__main__":
    main()
