"""SAE J1939-21 transport as a receiver runs it: a state machine, frame by frame. Slow; shares nothing with Argus."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

MS = 1_000_000


class Received(NamedTuple):
    """A message: who, to whom, what, and the position of the frame that announced it."""

    channel: str
    source: int
    destination: int
    pgn: int
    payload: bytes
    announced_by: int


@dataclass
class _Session:
    announced_by: int
    pgn: int
    size: int
    packets: int
    broadcast: bool
    last_ns: int
    wait_ns: int
    is_extended: bool
    possible: bool
    parts: dict[int, bytes] = field(default_factory=dict)
    previous: bytes = b""
    offset: int | None = None
    granted: int = 255
    opening: bytes | None = None
    over: bool = False
    spoiled: bool = False

    @property
    def whole(self) -> bool:
        have = b"".join(self.parts[n] for n in sorted(self.parts))
        return self.possible and not self.spoiled and len(self.parts) == self.packets and len(have) >= self.size

    def step(self, time_ns: int) -> None:
        if time_ns - self.last_ns > self.wait_ns:
            self.over = True
        self.last_ns, self.opening = time_ns, None

    def packet(self, payload: bytes) -> None:
        if self.over or self.spoiled or not payload or len(self.parts) == self.packets:
            return
        if self.is_extended and (self.offset is None or payload[0] > self.granted):
            return
        number = payload[0] + (self.offset or 0)
        if len(payload) < 8 and number != self.packets:
            return
        repeated, self.previous = payload == self.previous, payload
        if self.broadcast:
            if repeated:
                return
            if number != len(self.parts) + 1:
                self.over = True
                return
        if not 1 <= number <= self.packets:
            return
        if self.parts.get(number, payload[1:8]) != payload[1:8]:
            self.spoiled = True
        self.parts[number] = payload[1:8]


def receive(frames: Iterable[tuple[int, str, int, bytes]], pgns: set[int]) -> tuple[list[Received], int]:
    """Run all receivers.

    Args:
        frames: time_ns, channel, extended CAN identifier, payload; in time order.
        pgns: The parameter groups wanted.

    Returns:
        The messages that came whole, and how many announced ones did not.
    """
    ended: list[tuple[tuple[str, bool, int, int], _Session]] = []
    current: dict[tuple[str, bool, int, int], _Session] = {}

    for position, (time_ns, channel, can_id, payload) in enumerate(frames):
        if can_id >> 24 & 0b11:
            continue
        pf, destination, source = can_id >> 16 & 0xFF, can_id >> 8 & 0xFF, can_id & 0xFF
        if pf not in (0xEC, 0xEB, 0xC8, 0xC7):
            continue
        extended = pf in (0xC8, 0xC7)
        there, back = (channel, extended, source, destination), (channel, extended, destination, source)
        if pf in (0xEB, 0xC7):
            if session := current.get(there):
                session.step(time_ns)
                session.packet(payload)
            continue
        if len(payload) < 8:
            continue
        control, pgn = payload[0], int.from_bytes(payload[5:8], "little")
        if control in ((20,) if extended else (16, 32)):
            size = int.from_bytes(payload[1:5] if extended else payload[1:3], "little")
            packets = -(-size // 7) if extended else payload[3]
            fits = size >= 1786 if extended else 9 <= size <= 1785
            if there in current and current[there].opening == payload and time_ns - current[there].last_ns <= 750 * MS:
                current[there].last_ns = time_ns
                continue
            if there in current:
                ended.append((there, current.pop(there)))
            current[there] = _Session(
                position, pgn, size, packets, control == 32, time_ns, (750 if control == 32 else 1250) * MS, extended,
                fits and packets == -(-size // 7), opening=payload,
            )  # fmt: skip
        elif control == 22 and extended:
            if session := current.get(there):
                session.step(time_ns)
                session.offset, session.granted = int.from_bytes(payload[2:5], "little"), payload[1]
        elif control == (21 if extended else 17):
            if session := current.get(back):
                session.step(time_ns)
        elif control in ((23, 255) if extended else (19, 255)):
            for key in (back, there) if control == 255 else (back,):
                if key in current:
                    if current[key].pgn == pgn:
                        ended.append((key, current.pop(key)))
                    else:
                        current[key].step(time_ns)

    wanted = [(key, session) for key, session in [*ended, *current.items()] if session.pgn in pgns]
    return [
        Received(
            channel, source, destination, s.pgn,
            b"".join(s.parts[n] for n in sorted(s.parts))[: s.size], s.announced_by,
        )
        for (channel, _, source, destination), s in wanted if s.whole
    ], sum(not s.whole for _, s in wanted)  # fmt: skip
