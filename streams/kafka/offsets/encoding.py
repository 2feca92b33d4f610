"""The metadata of a commit: which offsets are unfinished, in as few characters as possible.

    metadata = base64(form, varint(offset), varint(high - offset), gaps)
    form     = version, whether the gaps are deflated, order

`offset` is the lowest unfinished offset, `high` the first that was not delivered yet. The gaps between
unfinished offsets are written in Exp-Golomb codes of an order that suits them: order 0 takes one bit for a
gap of 1, a higher order takes fewer bits for wide gaps. Deflating makes regular patterns small (a run of
thousands takes some bytes). Decision 46 has the sizes of other encodings.

When an offset finishes, two gaps become one, whose code is at most one bit longer than the two together. So
with a bit more for each gap (`bits_max`) the length of what is left is known before: it never grows.
"""

import base64
import binascii
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from operator import sub
from typing import NamedTuple

METADATA_BYTES_MAX = 4096
"""The default of the broker's `offset.metadata.max.bytes`."""

VERSION = 1
_DEFLATED = 0x20
_ORDERS = 0x20
"""Orders are below this. An offset has at most 63 bits."""

_HEAD_BYTES_MAX = 1 + 9 + 9
_TABLE_SIZE = 1024
"""Gaps that are common enough to keep their codes."""

_SAMPLE_SIZE = 64
_DEFLATE_LEVEL = 1
_DEFLATE_BYTES_MIN = 32
"""Less than this never becomes worth a byte smaller."""


class Unfinished(NamedTuple):
    """What a commit's metadata says."""

    high: int
    offsets: list[int]


class Encoded(NamedTuple):
    """The metadata for some unfinished offsets, and at most how many bits any part of them takes in this
    order."""

    text: str
    order: int
    bits_max: int


def encoded(high: int, offsets: Sequence[int], chars_max: int = METADATA_BYTES_MAX) -> Encoded:
    """Return the metadata for these unfinished offsets, which ascend and are below `high`.

    Where that is longer than `chars_max`, no order makes it fit.
    """
    gaps = list(map(sub, offsets[1:], offsets))
    found = _encoded(high, offsets, gaps, _suitable_order(gaps))
    if len(found.text) <= chars_max:
        return found
    return min((_encoded(high, offsets, gaps, order) for order in range(_ORDERS)), key=_length)


def decoded(offset: int, metadata: str) -> Unfinished | None:
    """Return what the metadata of this committed offset says; None if it was not written by `encoded`."""
    try:
        data = base64.b64decode(metadata, validate=True)
        form, (named, distance), body = data[0], *_two_varints(data[1:])
        if form >> 6 != VERSION or named != offset:
            return None
        gaps = list(_gaps(zlib.decompress(body) if form & _DEFLATED else body, form & (_ORDERS - 1)))
    except (binascii.Error, ValueError, IndexError, zlib.error):
        return None
    offsets = list(accumulate(gaps, initial=offset)) if distance else []
    return Unfinished(offset + distance, offsets)


# ---------------------------------------------------------------- how much room there is


def bits_for(chars_max: int) -> int:
    """Return how many bits of gaps surely fit in so many characters of metadata."""
    return (chars_max // 4 * 3 - _HEAD_BYTES_MAX) * 8 - 8


def bits_max_of(gap: int, order: int) -> int:
    """Return the bits that a gap takes, also as a part of a wider one."""
    return 2 * (gap - 1 + (1 << order)).bit_length() - order


# ---------------------------------------------------------------- gaps as bits


def _encoded(high: int, offsets: Sequence[int], gaps: list[int], order: int) -> Encoded:
    offset = offsets[0] if offsets else high
    table = _table(order)
    bits = "".join([table[gap] if gap < _TABLE_SIZE else _code(gap, order) for gap in gaps])
    form, body = VERSION << 6 | order, _packed(bits)
    if len(body) >= _DEFLATE_BYTES_MIN:
        deflated = zlib.compress(body, _DEFLATE_LEVEL)
        if len(deflated) < len(body):
            form, body = form | _DEFLATED, deflated
    data = bytes([form]) + _varint(offset) + _varint(high - offset) + body
    return Encoded(base64.b64encode(data).decode(), order, len(bits) + len(gaps))


def _suitable_order(gaps: Sequence[int]) -> int:
    """Half of the gaps are below 2 to its power, by a sample."""
    sample = sorted(gaps[:: len(gaps) // _SAMPLE_SIZE + 1])
    return min(sample[len(sample) // 2].bit_length() - 1, _ORDERS - 1) if sample else 0


def _length(found: Encoded) -> int:
    return len(found.text)


def _packed(bits: str) -> bytes:
    """Behind a bit that marks where they begin."""
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1) if bits else b""


def _gaps(body: bytes, order: int) -> Iterator[int]:
    bits = bin(int.from_bytes(body))[3:]
    at = 0
    while at < len(bits):
        one = bits.index("1", at)
        at = 2 * one - at + order + 1
        if at > len(bits):
            raise ValueError("the last code is cut off")
        yield int(bits[one:at], 2) - (1 << order) + 1


@cache
def _table(order: int) -> list[str]:
    return ["", *(_code(gap, order) for gap in range(1, _TABLE_SIZE))]


def _code(gap: int, order: int) -> str:
    """As many zeros as the number has bits beyond the order, and the number."""
    digits = bin(gap - 1 + (1 << order))[2:]
    return "0" * (len(digits) - 1 - order) + digits


# ---------------------------------------------------------------- numbers


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, the top bit set on all but the last (LEB128)."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low]) if rest == 0 else bytes([low | 0x80]) + _varint(rest)


def _two_varints(data: bytes) -> tuple[tuple[int, int], bytes]:
    """Return two numbers and what follows them. Raises `IndexError` if they are cut off."""
    numbers: list[int] = []
    at = 0
    for _ in range(2):
        number = shift = 0
        while data[at] >= 0x80:
            number |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        numbers.append(number | data[at] << shift)
        at += 1
    return (numbers[0], numbers[1]), data[at:]
