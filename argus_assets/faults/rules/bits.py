"""Raw bytes → physical values of a CAN signal, for all payloads at once, equal to what cantools computes."""

import numpy as np
import numpy.typing as npt
import polars as pl

from argus_assets.faults.rules.dbc import SignalDefinition

_F64 = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]


class Payloads:
    """The bytes of a binary column.

    Args:
        column: Without nulls.
    """

    def __init__(self, column: pl.Series) -> None:
        array = column.rechunk().to_arrow()  # large_binary: offsets and bytes
        offsets, data = array.buffers()[1:]
        first = array.offset
        self._starts = np.frombuffer(offsets, np.int64)[first : first + len(array)] if len(array) else np.zeros(0, int)
        self._data = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
        self.sizes: npt.NDArray[np.int64] = column.bin.size().to_numpy().astype(np.int64)

    def byte(self, index: int) -> npt.NDArray[np.uint64]:
        """Return one byte of each payload, 0 where it is shorter."""
        inside = self.sizes > index
        return np.where(inside, self._data[np.where(inside, self._starts + index, 0)], 0).astype(np.uint64)


def decode(payloads: Payloads, signal: SignalDefinition) -> tuple[_F64, _Flags]:
    """Decode the physical value in each payload, and whether it has one: it is long enough, and multiplexed so."""
    present = payloads.sizes * 8 >= signal.end
    if signal.multiplexer is not None:
        selector, chosen = signal.multiplexer
        values, there = decode(payloads, selector)
        present = present & there & np.isin(np.trunc(values), np.array(sorted(chosen), np.float64))
    return _scaled(raw_bits(payloads, signal), signal), present


def raw_bits(payloads: Payloads, signal: SignalDefinition) -> npt.NDArray[np.uint64]:
    """Return the bits of the signal as an unsigned number; those behind the end of a payload are 0."""
    bytes_ = range(signal.start // 8, (signal.end - 1) // 8 + 1)
    if signal.is_big_endian:
        rising, below = reversed(bytes_), -signal.end % 8
    else:
        rising, below = iter(bytes_), signal.start % 8
    raw = np.zeros(len(payloads.sizes), np.uint64)
    # A signal of 64 bits may lie in nine bytes: what a shift pushes over the top belongs to other signals.
    for number, index in enumerate(rising):
        shift = 8 * number - below
        byte = payloads.byte(index)
        raw |= byte << np.uint64(shift) if shift >= 0 else byte >> np.uint64(-shift)
    return raw & np.uint64(2**signal.length - 1)


def _scaled(raw: npt.NDArray[np.uint64], signal: SignalDefinition) -> _F64:
    if signal.is_float:
        bits = {16: np.uint16, 32: np.uint32, 64: np.uint64}[signal.length]
        kind = {16: np.float16, 32: np.float32, 64: np.float64}[signal.length]
        with np.errstate(all="ignore"):  # whatever bits there are: NaN and infinity too
            return raw.astype(bits).view(kind).astype(np.float64) * float(signal.scale) + float(signal.offset)
    number: npt.NDArray[np.uint64] | npt.NDArray[np.int64] = raw
    if signal.is_signed:
        unused = np.uint64(64 - signal.length)
        number = (raw << unused).view(np.int64) >> np.int64(unused)
    if isinstance(signal.scale, int):
        return _whole(number, signal.length, signal.scale, signal.offset)
    with np.errstate(over="ignore"):
        return number.astype(np.float64) * signal.scale + float(signal.offset)


def _whole(number: np.ndarray, bits: int, scale: int, offset: float) -> _F64:
    """Scale by a whole number, which is exact; a whole offset is added before the one rounding to float64."""
    whole_offset = offset if isinstance(offset, int) else 0
    fits = 2**bits * abs(scale) + abs(whole_offset) < 2**63
    # Where 64 bits do not hold the result, numbers of any size do: slow, for signals that hardly exist.
    exact = number.astype(np.int64 if fits else object) * scale + whole_offset
    result = exact.astype(np.float64)
    return result if isinstance(offset, int) else result + offset
