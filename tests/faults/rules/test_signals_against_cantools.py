"""Signals of DBC files, equal to what cantools decodes of the same bytes."""

import math
import struct

import polars as pl
import pytest
from cantools.database import DecodeError
from cantools.database.can import Message, Signal
from cantools.database.conversion import BaseConversion
from cantools.database.errors import Error
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from argus_assets.faults.rules.bits import Payloads, decode
from argus_assets.faults.rules.dbc import SignalDefinition

ORDERS = st.sampled_from(["little_endian", "big_endian"])
FACTORS = st.sampled_from([1, -1, 2, 1.0, 0.5, 0.1, -0.25, 0.03125, 1e-7, 3, 1000, 2**40, 5.0])
OFFSETS = st.sampled_from([0, 0.0, -40, -273.15, 1, 0.1, 2**60, -5000])


@st.composite
def signals(draw: st.DrawFn, message_bits: int, name: str, **more) -> Signal:
    """A signal of any layout inside of a message."""
    is_float = draw(st.integers(0, 4)) == 0
    length = draw(st.sampled_from([16, 32, 64]) if is_float else st.integers(1, 64))
    assume(length <= message_bits)
    order = draw(ORDERS)
    first = draw(st.integers(0, message_bits - length))
    start = first if order == "little_endian" else 8 * (first // 8) + 7 - first % 8
    scale, offset = draw(st.one_of(st.just((1, 0)), st.tuples(FACTORS, OFFSETS)))
    choices = draw(st.sampled_from([None, {0: "Off", 1: "On"}])) if not is_float else None
    conversion = BaseConversion.factory(scale=scale, offset=offset, choices=choices, is_float=is_float)
    is_signed = not is_float and draw(st.booleans())
    return Signal(name, start, length, order, is_signed=is_signed, conversion=conversion, **more)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Signals beside each other; messages of CAN, CAN FD, and of J1939's transport protocol."""
    length = draw(st.one_of(st.integers(1, 8), st.sampled_from([12, 24, 64, 40, 200])))
    laid: list[Signal] = []
    for number in range(draw(st.integers(1, 5))):
        one = draw(signals(8 * length, f"S{number}"))
        try:
            Message(0x100, "M", length, [*laid, one], strict=True)
        except Error:
            continue  # it lies over another one
        laid.append(one)
    return Message(0x100, "M", length, laid, is_fd=length > 8)


def decoded(message: Message, name: str, payloads: list[bytes]) -> list[float | None]:
    definition = SignalDefinition.of(message.get_signal_by_name(name), message)
    values, present = decode(Payloads(pl.Series(payloads, dtype=pl.Binary)), definition)
    return [float(value) if there else None for value, there in zip(values, present, strict=True)]


def oracle(message: Message, payload: bytes) -> dict[str, float]:
    try:
        found = message.decode(payload, decode_choices=False, allow_truncated=True)
    except DecodeError:  # a value of the multiplexer that the definitions do not have
        return {}
    return {name: float(value) for name, value in found.items()}


def same(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return ours == theirs or (math.isnan(ours) and math.isnan(theirs))


def check(message: Message, payloads: list[bytes]) -> None:
    expected = [oracle(message, payload) for payload in payloads]
    for signal in message.signals:
        found = decoded(message, signal.name, payloads)
        for payload, ours, theirs in zip(payloads, found, expected, strict=True):
            assert same(ours, theirs.get(signal.name)), (signal, payload.hex(), ours, theirs.get(signal.name))


@given(message=messages(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_every_layout_is_what_cantools_decodes(message: Message, data: st.DataObject) -> None:
    sizes = st.integers(0, message.length + 4)
    check(message, data.draw(st.lists(sizes.flatmap(lambda n: st.binary(min_size=n, max_size=n)), max_size=8)))


@st.composite
def multiplexed(draw: st.DrawFn) -> Message:
    """Two selectors of four bits, the second chosen by the first, and signals of both."""
    order = draw(ORDERS)
    starts = (0, 4) if order == "little_endian" else (3, 7)
    plain = BaseConversion.factory()
    scaled = BaseConversion.factory(scale=draw(st.sampled_from([1, 2, 0.5])), offset=draw(st.sampled_from([0, 1])))
    ids = st.lists(st.integers(0, 15), min_size=1, max_size=6, unique=True)
    root = Signal("Root", starts[0], 4, order, is_multiplexer=True, conversion=scaled)
    middle = Signal(
        "Middle", starts[1], 4, order, is_multiplexer=True, conversion=plain,
        multiplexer_ids=draw(ids), multiplexer_signal="Root",
    )  # fmt: skip
    leaves = [
        Signal("A", 8, 12, multiplexer_ids=draw(ids), multiplexer_signal="Root"),
        Signal("B", 24, 8, multiplexer_ids=draw(ids), multiplexer_signal="Middle"),
        Signal("C", 39, 16, "big_endian", is_signed=True, multiplexer_ids=draw(ids), multiplexer_signal="Middle"),
        Signal("D", 56, 8),
    ]
    return Message(0x100, "M", 8, [root, middle, *leaves], strict=False)


@given(message=multiplexed(), payloads=st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=20))
@settings(max_examples=150, deadline=None)
def test_multiplexed_signals_are_there_when_cantools_has_them(message: Message, payloads: list[bytes]) -> None:
    # cantools refuses a whole message whose selector has a value that no signal has; the others are in it still.
    known = [payload for payload in payloads if oracle(message, payload)]
    check(message, known)
    unknown = [payload for payload in payloads if not oracle(message, payload)]
    assert decoded(message, "D", unknown) == [float(payload[7]) for payload in unknown]


def test_a_signal_of_64_bits_may_lie_in_nine_bytes() -> None:
    message = Message(1, "M", 9, [Signal("S", 3, 64)], is_fd=True)
    payload = bytes.fromhex("f8ffffffffffffff07")
    assert decoded(message, "S", [payload]) == [float(2**64 - 1)]
    check(message, [payload, b"\x08" + bytes(8)])


@pytest.mark.parametrize("length", [65, 128])
def test_a_signal_that_is_no_number_is_refused(length: int) -> None:
    message = Message(1, "M", 64, [Signal("S", 0, length)], is_fd=True)
    with pytest.raises(ValueError, match=f"{length} bits"):
        SignalDefinition.of(message.signals[0], message)


def test_nothing_decodes_to_nothing() -> None:
    message = Message(1, "M", 8, [Signal("S", 0, 8)])
    assert decoded(message, "S", []) == []
    assert decoded(message, "S", [b"", struct.pack("<d", 0)]) == [None, 0.0]
