"""CRC-32C, the checksum of tfrecord files, of many bytes at a time in NumPy."""

from functools import cache

import numpy as np
from jaxtyping import UInt32

_POLYNOMIAL = 0x82F63B78

_BLOCK = 2**7
"""The bytes that are taken one after the other; blocks are taken side by side."""

Sums = UInt32[np.ndarray, " n"]


def masked_crc32c(data: bytes) -> int:
    """Compute CRC-32C, turned by 15 bits and shifted as in tfrecord files."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Compute CRC-32C (Castagnoli, reflected).

    Sums of blocks are computed side by side from 0, which leading zeros do not change,
    and joined pair by pair. To start from all ones is to flip the first 32 bits.
    """
    if len(data) < _BLOCK:
        return _crc_of_few(data)
    blocks = -(-len(data) // _BLOCK)
    padded = np.zeros(blocks * _BLOCK, np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    padded[start : start + 4] ^= 255
    sums = np.zeros(blocks, np.uint32)
    for words in np.ascontiguousarray(padded.view("<u4").reshape(blocks, -1).T):
        sums = _shift(sums ^ words, 2)
    log_length = _BLOCK.bit_length() - 1
    while len(sums) > 1:
        if len(sums) % 2:
            sums = np.concatenate([np.zeros(1, np.uint32), sums])
        sums = _shift(sums[::2], log_length) ^ sums[1::2]
        log_length += 1
    return int(sums[0]) ^ 0xFFFFFFFF


def _crc_of_few(data: bytes) -> int:
    table, crc = _byte_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _byte_table() -> list[int]:
    return _tables(0)[0, :256].tolist()


def _shift(sums: Sums, log_length: int) -> Sums:
    """Append 2**log_length bytes of zeros to what the sums are of."""
    low, high = _tables(log_length)
    return low.take(sums & 0xFFFF) ^ high.take(sums >> 16)


@cache
def _tables(log_length: int) -> UInt32[np.ndarray, "2 65536"]:
    """Tabulate the effect of 2**log_length bytes of zeros on each half of a sum."""
    half = np.arange(2**16, dtype=np.uint32)
    values = np.stack([half, half << 16])
    if log_length > 0:
        return _shift(_shift(values, log_length - 1), log_length - 1)
    for _ in range(8):
        values = values >> 1 ^ np.uint32(_POLYNOMIAL) * (values & 1)
    return values
