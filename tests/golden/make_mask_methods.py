#!/usr/bin/env python3
# Golden templates of every method: python3 tests/golden/make_mask_methods.py > tests/golden/mask_methods.txt   (needs numpy)
# The image of make_mask.py, and for mixes others like it; constants mean = c / 2 and deviation = 10 + c for channel c of the
# constants; seed 7; draws from rng_init(9, RNG_MASK, 3, 1); weights and gates by the formulas below, which the test has, too. The
# up-sampled image is made here, and the random numbers are computed again from their definition. A line: method, transform, what,
# planes, sum, sum of squares and every 37th (of up-sampled templates 997th) value. What: the template of one face, the mix of so
# many, or the public inverse of the template of one.
import math
import numpy as np

S = 16


class Rng:
    """core/base/philox: Philox4x32-10, the words of a block from the last to the first."""

    def __init__(self, seed, stream, step, sample):
        self.key, self.counter, self.words = (seed & 0xffffffff, seed >> 32), [0, sample, step & 0xffffffff, stream << 24 | step >> 32], []

    def u32(self):
        if not self.words:  # 256 blocks at once
            (k0, k1), low = self.key, np.uint64(0xffffffff)
            c = [np.full(256, x, np.uint64) for x in self.counter]
            c[0] += np.arange(256, dtype=np.uint64)
            for _ in range(10):
                p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
                c = [p1 >> np.uint64(32) ^ c[1] ^ np.uint64(k0), p1 & low, p0 >> np.uint64(32) ^ c[3] ^ np.uint64(k1), p0 & low]
                k0, k1 = (k0 + 0x9E3779B9) & 0xffffffff, (k1 + 0xBB67AE85) & 0xffffffff
            self.words, self.counter[0] = np.array(c).T[::-1].reshape(-1).tolist(), self.counter[0] + 256
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


RNG_INIT, RNG_MASK = 1, 20
TO_YCC = np.array([[.299, .587, .114], [-.168735892, -.331264108, .5], [.5, -.418687589, -.081312411]])


def image(word):  # (3,S,S)
    px = np.zeros((S, S, 3))
    for i in range(S * S * 3):
        word = (word * 1664525 + 1013904223) % 2**32
        px.reshape(-1)[i] = word >> 24
    planes = np.moveaxis(px @ TO_YCC.T, 2, 0).copy()
    planes[0] -= 128
    return planes

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


def raw_of(z):
    c = np.arange(len(z))[:, None, None]
    return z * (10 + c) + c / 2


def show(raw, keep, dct):  # what is not kept is 0
    coefficients = np.zeros((192,) + raw.shape[1:])
    coefficients[keep] = raw
    return backward(coefficients, dct)


class Method:
    name = property(lambda self: type(self).__name__)
    transforms, mixed, keep, clip = ('native', 'upsampled'), 0, list(range(192)), 0

    def template(self, rng, dct, ycc):
        return standardise(forward(ycc, dct)[self.keep], self.clip)

    def after_mix(self, rng, dct, z):
        return z

    def inverse(self, dct, z):
        return show(raw_of(z), self.keep, dct)


def without(coefficients):
    return [c for c in range(192) if c % 64 not in coefficients]


class blur(Method):
    def template(self, rng, dct, ycc):
        sigma = 2
        taps = np.array([math.exp(-i * i / (2 * sigma**2)) for i in range(-4 * sigma, 4 * sigma + 1)])
        taps /= taps.sum()
        m = np.zeros((S, S))
        for y in range(S):
            for i, t in enumerate(taps):
                at = (y + i - 4 * sigma) % (2 * S)
                m[y, at if at < S else 2 * S - 1 - at] += t
        return standardise(forward(m @ ycc @ m.T, dct))


class mixup(Method):
    mixed = 2


class instahide(Method):
    mixed, mean = 4, np.array([0, 64, 128]) / 2 / 8

    def rgb(self, dct, z):
        return (show(raw_of(z), self.keep, dct) - self.mean[:, None, None]).reshape(3, -1).T @ np.linalg.inv(TO_YCC).T

    def planes(self, rgb):
        return (rgb @ TO_YCC.T + self.mean).T.reshape(3, S, S)

    def after_mix(self, rng, dct, z):
        x, left = self.rgb(dct, z), 0
        for pixel in x:
            if left < 3:
                bits, left = rng.u32(), 32
            for i in range(3):
                pixel[i] *= -1 if bits & 1 else 1
                bits >>= 1
            left -= 3
        return standardise(forward(self.planes(x), dct))

    def inverse(self, dct, z):
        return self.planes(abs(self.rgb(dct, z)))


class duetface(Method):
    keep = without([0, 1, 2, 3, 4, 5, 8, 9, 16, 24])


class partialface(Method):
    keep = without([0, 1, 2, 3, 8, 9, 10, 16, 17, 24])

    def template(self, rng, dct, ycc):
        z = super().template(rng, dct, ycc)
        fixed = Rng(7, RNG_MASK, 2, 0)
        member = fixed.permutation(54)
        order = [fixed.permutation(27) for _ in range(3)]
        drawn = rng.below(18)
        shown = [54 * c + member[9 * (drawn // 3) + r] for c in range(3) for r in range(9)]
        self.index = [shown[i] for i in order[drawn % 3]]
        return z[self.index]

    def inverse(self, dct, z):  # the layout that is found
        if dct == 'native':
            return None  # mostly a wrong one
        whole = np.zeros((162,) + z.shape[1:])
        whole[self.index] = z
        coefficients = np.zeros((192,) + z.shape[1:])
        coefficients[[self.keep[i] for i in self.index]] = raw_of(whole)[self.index]
        return backward(coefficients, dct)


class dctdp(Method):
    keep, clip = without([0]), 3

    def scale(self, shape):
        budget = 1. + np.arange(np.prod(shape)) % 5
        return 6 / (budget / budget.mean()).reshape(shape)

    def template(self, rng, dct, ycc):
        z = super().template(rng, dct, ycc)
        flat, scale = z.reshape(-1), self.scale(z.shape).reshape(-1)
        for i in range(flat.size):
            word = rng.u32()
            size = -math.log(((word >> 1) + 1) / 2**31) * scale[i]
            flat[i] += -size if word & 1 else size
        return z

    def inverse(self, dct, z):
        return super().inverse(dct, z / (1 + 2 * self.scale(z.shape)**2))


def high_pass(planes):
    return planes - np.repeat(np.repeat(planes.reshape(3, S // 2, 2, S // 2, 2).mean((2, 4)), 2, 1), 2, 2)


class ldp_slicing(Method):
    root = [[math.sqrt(w * 2**b) for b in range(8)] for w in (4, 1, 1)]

    def flip(self, c, b):
        return int(2**32 / (1 + math.exp(20 * self.root[c][b] / sum(map(sum, self.root)))))

    def template(self, rng, dct, ycc):
        byte = np.clip(np.rint(high_pass(ycc) + 128), 0, 255).astype(int)
        for c in range(3):
            flat = byte[c].reshape(-1)
            for i in range(len(flat)):
                for b in range(8):
                    flat[i] ^= (rng.u32() < self.flip(c, b)) << b
        return standardise(forward(byte - 128., dct))

    def inverse(self, dct, z):
        planes, byte = show(raw_of(z), self.keep, dct), np.arange(256)
        for c, spread in enumerate((5, .6, .7)):
            posterior = np.tile(np.exp(-abs(byte - 128) / spread), (256, 1))  # [seen][was]
            for b in range(8):
                p = self.flip(c, b) / 2**32
                posterior *= np.where((byte[:, None] ^ byte[None]) >> b & 1, p, 1 - p)
            mean = posterior @ (byte - 128) / posterior.sum(1)
            planes[c] = mean[np.rint(planes[c] + 128).astype(int)]
        return high_pass(planes)


def strengths(g):
    s = np.full((g, g), .25)
    for i in range(g):
        for j in range(g):
            y, x = (i + .5) * 112 / g, (j + .5) * 112 / g
            if 24 <= y < 48 and 16 <= x < 96:
                s[i, j] = .75
            elif 48 <= y < 72 and 40 <= x < 72 or 72 <= y < 96 and 32 <= x < 80:
                s[i, j] = .5
    return s


def cover(rng, z, s):  # of strengths between 0 and 1
    return (1 - s) * z + s * np.array([rng.normal() for _ in range(z.size)]).reshape(z.shape)


class regional(Method):
    def template(self, rng, dct, ycc):
        z = super().template(rng, dct, ycc)
        return cover(rng, z, strengths(z.shape[1]))

    def inverse(self, dct, z):
        s = strengths(z.shape[1])
        return super().inverse(dct, z * (1 - s) / ((1 - s)**2 + s**2))


def gate(c):
    return (37 * c + 11) % 193 / 193


class ppfr_fd(Method):
    keep = sorted(c for k in range(3) for c in sorted(range(64 * k, 64 * k + 64), key=gate)[28:])
    matrix = np.zeros((108, 192))
    p, q = (Rng(7, RNG_MASK, 0, i).permutation(108) for i in range(2))
    for i in range(108):
        for place in (q[i], (q[i] + 1) % 108):
            matrix[i, keep[p[place]]] += 1

    def template(self, rng, dct, ycc):
        return standardise(np.einsum('ic,cgh->igh', self.matrix, forward(ycc, dct)))

    def inverse(self, dct, z):
        return backward(np.einsum('ci,igh->cgh', np.linalg.pinv(self.matrix), raw_of(z)), dct)


class Net:  # constants and a U-Net with weights as a test gives them
    deviation = np.array([300 / (1 + c % 64) for c in range(192)])[:, None, None]
    power, echo = .5, .25
    magnitude = np.array([200 / (1 + c % 64) + c / 1000 for c in range(192)])

    def __init__(self, constants, noise):
        rng, self.layers = Rng(4, RNG_INIT, 0, 0), []
        for _ in range(192 * constants):
            rng.normal()
        for i, o in ((192 + noise, 32), (32, 64), (64, 64), (96, 32), (32, 192)):
            w = np.array([.05 * rng.normal() for _ in range(o * (9 * i + 1))])
            self.layers.append((w[:9 * i * o].reshape(o, i, 3, 3), w[9 * i * o:]))

    def convolve(self, layer, x, stride=1):
        (w, b), g = self.layers[layer], x.shape[1]
        padded, y = np.pad(x, ((0, 0), (1, 1), (1, 1))), 0
        for i in range(3):
            for j in range(3):
                y = y + np.einsum('oi,igh->ogh', w[:, :, i, j], padded[:, i:i + g, j:j + g])
        y = (y + b[:, None, None])[:, ::stride, ::stride]
        return y if layer == 4 else np.where(y > 0, y, .1 * y)

    def run(self, x):
        fine = self.convolve(0, x)
        deep = self.convolve(2, self.convolve(1, fine, 2))
        return self.convolve(4, self.convolve(3, np.concatenate([fine, deep.repeat(2, 1).repeat(2, 2)])))


class minusface(Method):
    transforms = ('native',)

    def template(self, rng, dct, ycc):
        net = Net(3, 0)
        x = forward(ycc, dct) / net.deviation
        rest = net.deviation * (x - net.run(x))
        return standardise(rest[rng.permutation(192)])

    def inverse(self, dct, z):
        raw, coefficients = raw_of(z), np.zeros(z.shape)
        coefficients[np.argsort(Net.magnitude, kind='stable')] = raw[np.argsort(abs(raw).sum((1, 2)), kind='stable')]
        return backward(coefficients, dct)


class generative(Method):
    transforms = ('native',)

    def strength(self, g):
        return np.ones((g, g))

    def template(self, rng, dct, ycc):
        net = Net(4, 16)
        z = forward(ycc, dct) / net.deviation
        g, s = z.shape[1], self.strength(z.shape[1])
        drawn = net.run(np.concatenate([z, np.array([rng.normal() for _ in range(16 * g * g)]).reshape(16, g, g)]))
        kept = z if s.min() == 1 else cover(rng, z, s)  # nothing is drawn for what is replaced altogether
        return standardise((net.deviation * ((1 - s) * kept + s * drawn))[self.keep], self.clip)

    def inverse(self, dct, z):
        s = self.strength(z.shape[1])
        direct = (1 - s)**2
        gain = (direct + s * Net.echo) / (direct**2 + ((1 - s) * s)**2 + s * s * Net.power + 2 * direct * s * Net.echo)
        return show(raw_of(z) * gain, self.keep, dct)


LOW = sorted(((u, v) for u in range(8) for v in range(8)), key=lambda t: (t[0] + t[1], t[1] if (t[0] + t[1]) % 2 else t[0]))


class hybrid(generative):
    keep, clip, mixed = without([8 * u + v for u, v in LOW[:3]]), 3, 3

    def strength(self, g):
        return strengths(g)


class ahm(Method):
    keep, clip, mixed = without([8 * u + v for u, v in LOW[:3]]), 3, 3


def line(method, dct, what, planes):
    t = planes.reshape(-1)
    step = 997 if dct == 'upsampled' and what != 'inverse' else 37
    print(method.name, dct, what, len(planes), '%.5f %.5f' % (t.sum(), (t * t).sum()), ' '.join('%.5f' % v for v in t[::step]))


for method in (blur(), mixup(), instahide(), duetface(), partialface(), dctdp(), ldp_slicing(), regional(), ppfr_fd(), minusface(), generative(),
               hybrid(), ahm()):
    for dct in method.transforms:
        rng = Rng(9, RNG_MASK, 3, 1)
        z = method.after_mix(rng, dct, method.template(rng, dct, image(12345)))
        line(method, dct, 'template', z)
        inverse = method.inverse(dct, z)
        if inverse is not None:
            line(method, dct, 'inverse', inverse)
        if method.mixed:
            k, rng = method.mixed, Rng(9, RNG_MASK, 3, 1)
            z = sum(2 * (k - j) / (k * (k + 1)) * method.template(rng, dct, image(12345 + j)) for j in range(k))
            line(method, dct, 'mix-%d' % k, method.after_mix(rng, dct, z))
