#!/usr/bin/env python3
# Golden orders of keys: python3 tests/golden/make_key.py > tests/golden/key.txt   (standard library alone)
# One line a case: the secret's first byte (byte i is first + 7 i mod 256), channels, the key's id, then order and sign of every channel.
# Independent of libsodium: crypto_kdf is BLAKE2b with the subkey's number as salt and the context as person; ChaCha20 is written out.
import hashlib
import struct


def subkey(secret, number):
    return hashlib.blake2b(b"", digest_size=32, key=secret, salt=struct.pack("<QQ", number, 0), person=b"guisekey" + bytes(8)).digest()


def rotate(value, bits):
    return (value << bits | value >> (32 - bits)) & 0xffffffff


def block(key, counter):  # Bernstein's: 64-bit counter, 64-bit nonce 0
    start = list(struct.unpack("<4I", b"expand 32-byte k")) + list(struct.unpack("<8I", key)) + [counter & 0xffffffff, counter >> 32, 0, 0]
    x = start[:]
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            for first, second, third, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                x[first] = (x[first] + x[second]) & 0xffffffff
                x[third] = rotate(x[third] ^ x[first], bits)
    return [(p + q) & 0xffffffff for p, q in zip(x, start)]


def words(key):
    counter = 0
    while True:
        yield from block(key, counter)
        counter += 1


for first, channels in ((0, 192), (3, 183), (200, 36), (90, 1)):
    secret = bytes((first + 7 * i) % 256 for i in range(32))
    stream = words(subkey(secret, 1))
    order = list(range(channels))
    for i in range(channels - 1, 0, -1):
        product = next(stream) * (i + 1)
        while product % 2**32 < 2**32 % (i + 1):
            product = next(stream) * (i + 1)
        j = product >> 32
        order[i], order[j] = order[j], order[i]
    sign = [next(stream) & 1 for _ in range(channels)]
    print(first, channels, subkey(secret, 2)[:8].hex(), *(f"{c} {s}" for c, s in zip(order, sign)))
