"""Addressing of ISO-TP: from identifiers and address bytes to testers and ECUs (ISO 15765-2, 10.3; ISO 15765-4).

29-bit identifiers of the parameter groups that J1939-21 leaves to ISO 15765 contain both addresses, whatever the
tester's is. 11-bit identifiers do not: those of OBD are known (`DEFAULT`), other ones are configured by an `Addressing`
each or proven by the traffic (`addressing_proof.py`).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import polars as pl

from argus_assets.faults.can_frames import IS_EXTENDED, byte

Mode = Literal["normal", "extended", "mixed"]

MAX_STANDARD_ID: Final = 0x7FF

_PF_MASK: Final = 0x03FF0000
"""Data pages and PDU format of a 29-bit identifier; the priority may be any."""

_PF_FUNCTIONAL_MIXED: Final = 0xCD << 16
_PF_PHYSICAL_MIXED: Final = 0xCE << 16
_PF_PHYSICAL: Final = 0xDA << 16
_PF_FUNCTIONAL: Final = 0xDB << 16
_MIXED: Final = (_PF_FUNCTIONAL_MIXED, _PF_PHYSICAL_MIXED)
_FUNCTIONAL: Final = (_PF_FUNCTIONAL_MIXED, _PF_FUNCTIONAL)

_CAN_ID: Final = pl.col("arbitration_id")
_HAS_FIXED_ADDRESSES: Final = IS_EXTENDED & (_CAN_ID & _PF_MASK).is_in(
    [_PF_FUNCTIONAL_MIXED, _PF_PHYSICAL_MIXED, _PF_PHYSICAL, _PF_FUNCTIONAL]
)

PROVABLE: Final = ~IS_EXTENDED & _CAN_ID.is_between(0x600, MAX_STANDARD_ID)
"""Filter for the 11-bit identifiers among which makers place diagnostics; which of them carry it is to be proven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressing:
    """Request and response addresses of an ECU. An ECU that listens to several request identifiers has one for each.

    Identifiers above 0x7FF are 29-bit ones.

    Attributes:
        request_id: CAN identifier of the tester's frames.
        response_id: CAN identifier of the ECU's frames.
        mode: `normal` has the whole payload for ISO-TP. `extended` (first byte: target address) and `mixed` (first
            byte: address extension) take one byte of it.
        request_address: That first byte in requests; `None` for any.
        response_address: That first byte in responses; `None` for any.
        ecu_name: Name of the ECU.
    """

    request_id: int
    response_id: int
    mode: Mode = "normal"
    request_address: int | None = None
    response_address: int | None = None
    ecu_name: str | None = None


def _obd_addressings() -> Iterator[Addressing]:
    for number in range(8):
        for request_id in (0x7DF, 0x7E0 + number):
            yield Addressing(request_id=request_id, response_id=0x7E8 + number)


DEFAULT: Final = tuple(_obd_addressings())
"""11-bit OBD (ISO 15765-4, 10.5): 0x7DF asks all, 0x7E0 to 0x7E7 one, which answers 8 above."""


def wanted(addressings: Sequence[Addressing] = DEFAULT) -> pl.Expr:
    """Return a filter for the frames that can carry diagnostics, over `arbitration_id` and `is_extended_id`."""
    ids = sorted({i for a in addressings for i in (a.request_id, a.response_id)})
    standard = [i for i in ids if i <= MAX_STANDARD_ID]
    extended = [i for i in ids if i > MAX_STANDARD_ID]
    return (
        PROVABLE
        | _HAS_FIXED_ADDRESSES
        | (~IS_EXTENDED & _CAN_ID.is_in(standard))
        | (IS_EXTENDED & _CAN_ID.is_in(extended))
    )


class Ecu(NamedTuple):
    """An ECU on a channel.

    Attributes:
        channel: CAN channel.
        ecu: `0x7E8`, or `0x7E8 AE 0x22` where the address extension distinguishes ECUs of one identifier.
        ecu_name: Name of it, where it is configured.
    """

    channel: str
    ecu: str
    ecu_name: str | None


@dataclass(frozen=True, slots=True)
class BySender:
    """Frames with the sender that they belong to.

    Attributes:
        frames: timestamp, recording, frame, payload without its address byte, sender (UInt32), and peer (UInt32): whose
            message a flow control of this sender is about, null where nobody's is known.
        ecus: ECU of each sender that can answer.
        asked: For each sender that can ask, the senders that it asks.
        names: Name of each sender in notes: `CAN1 0x7E8`.
    """

    frames: pl.DataFrame
    ecus: Mapping[int, Ecu]
    asked: Mapping[int, Sequence[int]]
    names: Mapping[int, str]


def by_sender(rows: pl.DataFrame, addressings: Sequence[Addressing] = DEFAULT) -> BySender:
    """Assign every frame to its sender.

    Args:
        rows: `can.data_frames` of `wanted`. Frames of identifiers that no addressing explains are left out.
        addressings: Where two give one identifier different modes, the later one counts.
    """
    modes = {i: a.mode for a in addressings for i in (a.request_id, a.response_id)}
    plan = _Plan(addressings)
    with_byte = [i for i, mode in modes.items() if mode != "normal"]
    has_byte = (IS_EXTENDED & (_CAN_ID & _PF_MASK).is_in(_MIXED) & ~_CAN_ID.is_in(list(modes))) | (
        _CAN_ID.is_in(with_byte) & ((_CAN_ID > MAX_STANDARD_ID) == IS_EXTENDED)
    )
    rows = rows.with_columns(address=pl.when(has_byte).then(byte(0)))
    key = ["channel", "arbitration_id", "is_extended_id", "address"]
    distinct = rows.select(key).unique().sort(key)
    for number, (channel, can_id, is_extended, address) in enumerate(distinct.iter_rows()):
        if is_extended == (can_id > MAX_STANDARD_ID):
            plan.add(number, _Station(channel, can_id, address))
    peers = plan.peers()
    numbered = distinct.with_columns(
        sender=pl.int_range(pl.len(), dtype=pl.UInt32),
        peer=pl.Series([peers.get(n) for n in range(distinct.height)], dtype=pl.UInt32),
    ).filter(pl.col("sender").is_in(list(plan.names)))
    frames = rows.join(numbered, on=key, nulls_equal=True, maintain_order="left").select(
        "timestamp",
        "recording",
        "frame",
        "sender",
        "peer",
        payload=pl.when(pl.col("address").is_null()).then("payload").otherwise(pl.col("payload").bin.slice(1)),
    )
    return BySender(frames, plan.ecus, plan.asked(), plan.names)


class _Station(NamedTuple):
    """Channel and address that frames of one sender share."""

    channel: str
    can_id: int
    address: int | None

    @property
    def label(self) -> str:
        return f"0x{self.can_id:X}"


@dataclass(slots=True)
class _Plan:
    """The senders of a drive and how they are connected. They are few, so a dictionary holds each."""

    addressings: Sequence[Addressing]
    names: dict[int, str] = field(default_factory=dict)
    ecus: dict[int, Ecu] = field(default_factory=dict)
    _by_station: dict[tuple[str, int, int | None], int] = field(default_factory=dict)
    _by_id: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    _stations: dict[int, _Station] = field(default_factory=dict)
    _requests: dict[int, list[Addressing]] = field(default_factory=lambda: defaultdict(list))
    _responses: dict[int, list[Addressing]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for addressing in self.addressings:
            self._requests[addressing.request_id].append(addressing)
            self._responses[addressing.response_id].append(addressing)

    def add(self, number: int, station: _Station) -> None:
        """Add a sender that is configured, or whose identifier contains its address."""
        channel, can_id, address = station
        configured = [a for a in self._responses.get(can_id, ()) if _fits(a.response_address, address)]
        is_fixed = self._is_fixed(can_id)
        if not (configured or is_fixed or can_id in self._requests):
            return
        self._stations[number] = station
        self._by_station[channel, can_id & 0x03FFFFFF, address] = number
        self._by_id[channel, can_id].append(number)
        is_extended = any(a.mode == "extended" for a in (*configured, *self._requests.get(can_id, ())))
        # The target of an extended answer is its tester: that is no part of who the ECU is.
        extension = "" if address is None or (configured and is_extended) else f" AE 0x{address:02X}"
        self.names[number] = f"{channel} {station.label}{extension.replace('AE', 'TA') if is_extended else extension}"
        if configured or (is_fixed and can_id & _PF_MASK not in _FUNCTIONAL):
            name = configured[-1].ecu_name if configured else None
            self.ecus[number] = Ecu(channel, f"{station.label}{extension}", name)

    def asked(self) -> dict[int, list[int]]:
        """Return the senders that each tester asks."""
        by_tester: dict[tuple[str, int, int | None], list[int]] = defaultdict(list)
        for number in self.ecus:
            channel, can_id, address = self._stations[number]
            if self._is_fixed(can_id):
                by_tester[channel, can_id >> 8 & 0xFF, address].append(number)
        asked: dict[int, list[int]] = {}
        for number, (channel, can_id, address) in self._stations.items():
            if not self._is_fixed(can_id):
                found = [
                    ecu
                    for a in self._requests.get(can_id, ())
                    if _fits(a.request_address, address)
                    for ecu in self._by_id.get((channel, a.response_id), ())
                    if _fits(a.response_address, self._stations[ecu].address)
                ]
            elif can_id & _PF_MASK in _FUNCTIONAL:
                found = by_tester[channel, can_id & 0xFF, address]
            else:
                found = [n for n in [self._opposite(channel, can_id, address)] if n is not None]
            if found:
                asked[number] = list(dict.fromkeys(found))
        return asked

    def peers(self) -> dict[int, int]:
        """Return the peer of each sender, whose messages its flow control is about: the other end of a connection of two."""
        peers: dict[int, int] = {}
        for asking, ecus in self.asked().items():
            # Nobody grants frames to many at once, so what asks many has no peer.
            if len({self._stations[e].can_id for e in ecus}) == 1 and not self._is_shared(asking):
                peers[asking] = ecus[0]
                peers[ecus[0]] = asking
        return peers

    def _is_shared(self, number: int) -> bool:
        can_id = self._stations[number].can_id
        address = self._stations[number].address
        if self._is_fixed(can_id):
            return can_id & _PF_MASK in _FUNCTIONAL
        return len({a.response_id for a in self._requests[can_id] if _fits(a.request_address, address)}) > 1

    def _is_fixed(self, can_id: int) -> bool:
        """Return whether the identifier itself contains both addresses."""
        is_configured = can_id in self._requests or any(a.mode != "normal" for a in self._responses.get(can_id, ()))
        fixed = (_PF_PHYSICAL, *_MIXED, _PF_FUNCTIONAL)
        return can_id > MAX_STANDARD_ID and can_id & _PF_MASK in fixed and not is_configured

    def _opposite(self, channel: str, can_id: int, address: int | None) -> int | None:
        """Return the sender of the opposite direction: source and target address exchanged."""
        back = can_id & _PF_MASK | (can_id & 0xFF) << 8 | can_id >> 8 & 0xFF
        return self._by_station.get((channel, back, address))


def _fits(configured: int | None, address: int | None) -> bool:
    return configured is None or configured == address
