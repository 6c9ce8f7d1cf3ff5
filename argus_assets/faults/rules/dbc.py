"""Definitions of CAN signals from DBC files, as far as rules name them. cantools reads the file; nothing is decoded here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from argus_assets.errors import BadSetting

if TYPE_CHECKING:
    from cantools.database.can.database import Database as CanDatabase
    from cantools.database.can.message import Message
    from cantools.database.can.signal import Signal

_MAX_BITS: Final = 64
_FLOAT_BITS: Final = (16, 32, 64)
_NOBODY: Final = "Vector__XXX"
"""The sender of a message that has none."""


@dataclass(frozen=True, slots=True)
class SignalDefinition:
    """Position of a signal in its message, and the meaning of its raw value.

    Attributes:
        start: Of the lowest bit, counted as Intel counts (bit 0 of byte 0 is 0, bit 7 is 7, bit 0 of byte 1 is 8); of
            the highest bit, counted in the order of sending (bit 7 of byte 0 is 0), where `is_big_endian`.
        length: Bits, at most 64.
        is_big_endian: Motorola order.
        is_float: IEEE 754 in 16, 32 or 64 bits.
        scale: Physical value is raw value times scale plus offset. An int is exact, as it is to cantools.
        offset: See scale.
        choices: Physical value → name, from the value table.
        multiplexer: The signal that selects whether this one is in a message, and its values that do.
    """

    name: str
    start: int
    length: int
    is_big_endian: bool = False
    is_signed: bool = False
    is_float: bool = False
    scale: float = 1
    offset: float = 0
    unit: str = ""
    choices: Mapping[float, str] = field(default_factory=dict)
    multiplexer: "tuple[SignalDefinition, frozenset[int]] | None" = None

    @property
    def end(self) -> int:
        """Bits that a message must have for the signal to be in it."""
        return self.start + self.length

    @classmethod
    def of(cls, signal: "Signal", message: "Message") -> Self:
        """Convert the definition of a signal from cantools.

        Raises:
            ValueError: It has no numeric value.
        """
        conversion = signal.conversion
        bits = _FLOAT_BITS if conversion.is_float else range(1, _MAX_BITS + 1)
        if signal.length not in bits:
            msg = f"{signal.length} bits are no {'float' if conversion.is_float else 'number'} that can be compared"
            raise ValueError(msg)
        scale, offset = conversion.scale, conversion.offset
        if not conversion.is_float and float(scale).is_integer() and float(offset).is_integer():
            scale, offset = int(scale), int(offset)
        is_big_endian = signal.byte_order == "big_endian"
        multiplexer = None
        if signal.multiplexer_signal is not None and signal.multiplexer_ids is not None:
            selector = message.get_signal_by_name(signal.multiplexer_signal)
            multiplexer = (cls.of(selector, message), frozenset(signal.multiplexer_ids))
        return cls(
            name=signal.name,
            start=8 * (signal.start // 8) + 7 - signal.start % 8 if is_big_endian else signal.start,
            length=signal.length,
            is_big_endian=is_big_endian,
            is_signed=signal.is_signed,
            is_float=conversion.is_float,
            scale=scale,
            offset=offset,
            unit=signal.unit or "",
            choices={float(raw * scale + offset): str(text) for raw, text in (conversion.choices or {}).items()},
            multiplexer=multiplexer,
        )


@dataclass(frozen=True, slots=True)
class CanSignal:
    """A signal of one message of one DBC file.

    Attributes:
        message: Name of the message.
        frame_id: Its identifier, 11 or 29 bits.
        is_j1939: Whatever priority and source address it is sent with, it is the same message.
        length_bytes: Of the message.
        sender: The ECU that sends it, empty when the file does not say.
        channels: Patterns of the channels that the file describes.
    """

    definition: SignalDefinition
    message: str
    frame_id: int
    is_extended_id: bool
    is_j1939: bool
    length_bytes: int
    sender: str
    channels: tuple[str, ...]

    @property
    def pgn(self) -> int:
        """Parameter group number; below PDU format 240 it has no destination address (SAE J1939-21, 5.1.2)."""
        number = self.frame_id >> 8 & 0x3FFFF
        return number if number >> 8 & 0xFF >= 0xF0 else number & 0x3FF00


class Dbc:
    """One DBC file.

    Args:
        path: Shown in errors.
        content: The file.
        channels: Patterns of the channels that it describes.

    Raises:
        BadSetting: It is no DBC file.
    """

    def __init__(self, path: Path, content: bytes, channels: tuple[str, ...]) -> None:
        # Slow to import, and most platforms have no DBC.
        import cantools

        self._path = path
        self._channels = channels
        try:
            # Vector's tools write the code page of Western Windows. Not strict: real files have signals that overlap.
            self._database: CanDatabase = cantools.database.load_string(  # type: ignore[assignment] # it is a DBC
                content.decode("cp1252", "replace"), database_format="dbc", strict=False
            )
        except Exception as error:  # cantools passes on whatever its parser raises
            raise BadSetting(
                f"{path} cannot be read as a DBC file: {error}.", help="Open it in a DBC editor, and save it anew."
            ) from error

    def find(self, name: str) -> CanSignal | None:
        """Find the signal `Message.Signal`, or `Signal` where only one message has it; `None` when there is none.

        Raises:
            BadSetting: Several messages have it, or it has no numeric value.
        """
        of_message, _, signal_name = name.rpartition(".")
        found = [
            (message, signal)
            for message in self._database.messages
            if of_message in ("", message.name)
            for signal in message.signals
            if signal.name == signal_name
        ]
        if not found:
            return None
        if len(found) > 1:
            names = ", ".join(f"{message.name}.{signal_name}" for message, _ in found)
            raise BadSetting(f"{self._path}: the signal {name!r} is in several messages.", help=f"Name one of {names}.")
        message, signal = found[0]
        try:
            definition = SignalDefinition.of(signal, message)
        except ValueError as error:
            raise BadSetting(
                f"{self._path}: the signal {name!r} cannot be used: {error}.",
                help="Rules compare numbers of at most 64 bits.",
            ) from error
        return CanSignal(
            definition,
            message.name,
            message.frame_id,
            message.is_extended_frame,
            self._is_j1939(message),
            message.length,
            next((sender for sender in message.senders if sender != _NOBODY), ""),
            self._channels,
        )

    def _is_j1939(self, message: "Message") -> bool:
        """Return whether it is J1939 by the message's frame format, or else by the file's protocol."""
        if message.protocol == "j1939":
            return True
        attributes = getattr(self._database.dbc, "attributes", {})
        protocol = attributes["ProtocolType"].value if "ProtocolType" in attributes else ""
        stated = message.dbc is not None and "VFrameFormat" in message.dbc.attributes
        return message.is_extended_frame and not stated and str(protocol).upper().startswith("J1939")


def find_signal(databases: Iterable[Dbc], name: str) -> tuple[CanSignal, ...]:
    """Find a signal in all files that have it: each may describe another channel.

    Raises:
        BadSetting: No file has it, or one cannot say which is meant.
    """
    found = tuple(signal for database in databases if (signal := database.find(name)) is not None)
    if not found:
        raise BadSetting(
            f"No DBC file has the signal {name!r}.",
            help="Name it as the file does, Message.Signal or Signal, and list the file as a [[database]].",
        )
    return found
