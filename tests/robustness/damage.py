"""Damage to the bytes of a file, as disks, networks, programs and people do it."""

from __future__ import annotations

import random
from collections.abc import Callable

Damage = Callable[[random.Random, bytes], bytes]


def _cut(rng: random.Random, good: bytes) -> bytes:
    return good[: rng.randrange(1, len(good))]


def _cut_at_the_end(rng: random.Random, good: bytes) -> bytes:
    return good[: -rng.randint(1, min(64, len(good) - 1))]


def _zeros_to_the_end(rng: random.Random, good: bytes) -> bytes:
    """Replace the end by zeros, as a power failure leaves a file whose length was written before its content."""
    kept = rng.randrange(1, len(good))
    return good[:kept] + bytes(len(good) - kept)


def _zeros_inside(rng: random.Random, good: bytes) -> bytes:
    start, length = rng.randrange(len(good)), rng.randint(1, max(1, len(good) // 4))
    return good[:start] + bytes(len(good[start : start + length])) + good[start + length :]


def _one_bit(rng: random.Random, good: bytes) -> bytes:
    place = rng.randrange(len(good))
    return good[:place] + bytes([good[place] ^ 1 << rng.randrange(8)]) + good[place + 1 :]


def _bytes(rng: random.Random, good: bytes) -> bytes:
    start, new = rng.randrange(len(good)), rng.randbytes(rng.randint(1, 32))
    return good[:start] + new + good[start + len(new) :]


def _bytes_of_the_header(rng: random.Random, good: bytes) -> bytes:
    start, new = rng.randrange(min(64, len(good))), rng.randbytes(rng.randint(1, 8))
    return good[:start] + new + good[start + len(new) :]


def _piece_lost(rng: random.Random, good: bytes) -> bytes:
    start = rng.randrange(len(good))
    return good[:start] + good[start + rng.randint(1, max(1, len(good) // 8)) :]


def _piece_twice(rng: random.Random, good: bytes) -> bytes:
    start = rng.randrange(len(good))
    end = start + rng.randint(1, max(1, len(good) // 8))
    return good[:end] + good[start:]


KINDS: dict[str, Damage] = {
    "empty": lambda rng, good: b"",
    "cut": _cut,
    "cut at the end": _cut_at_the_end,
    "zeros to the end": _zeros_to_the_end,
    "zeros inside": _zeros_inside,
    "one bit": _one_bit,
    "some bytes": _bytes,
    "bytes of the header": _bytes_of_the_header,
    "a piece lost": _piece_lost,
    "a piece twice": _piece_twice,
    "random bytes": lambda rng, good: rng.randbytes(rng.randint(1, 5000)),
    "a text": lambda rng, good: b"<html><body>404 Not Found</body></html>\n" * rng.randint(1, 40),
}
"""Name -> damage, drawn from a seeded generator."""

UNFINISHED = ("empty", "cut", "cut at the end", "zeros to the end")
"""Damage that leaves only the beginning of a file: what was being written when a process or machine went down."""

FOREIGN = ("random bytes", "a text")
"""Damage that leaves nothing of the file."""
