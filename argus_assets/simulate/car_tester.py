"""A tester on the diagnostic connector of a car: it requests trouble codes in cycles, and the units answer."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np

from argus_assets.simulate import obd
from argus_assets.simulate.can import Row
from argus_assets.simulate.car_faults import BRAKES, ENGINE, TRANSMISSION, CarFault, ObdCode, Refusal
from argus_assets.simulate.signals import Signals
from argus_assets.simulate.timing import Ride

CYCLE_S: Final = 5.0
"""From one round of requests to the next."""

STEP_S: Final = 0.2
"""A tester waits for the answers to one request before it sends the next."""

_EMISSION_UNITS: Final = (ENGINE, TRANSMISSION, BRAKES)
"""Units that answer OBD services."""

_ALL_BITS: Final = 0xFF

_Exchange = Callable[[float], list[Row]]
"""A request at this time, with its answers; empty when there is nothing to request."""


class Tester:
    """Polls the units in turn, each request in a slot of its own."""

    def __init__(self, fault: CarFault, signals: Signals, ride: Ride) -> None:
        self._fault = fault
        self._signals = signals
        self._start_s = ride.start_s
        self._ids = obd.Addresses(extended=fault.extended_ids)
        self._uds_units = tuple(dict.fromkeys(code.unit for code in fault.uds))
        # A tester does one thing at a time: what is due within a round is done between two of its questions.
        self._clears = fault.clears.starts(ride) if fault.clears else []

    def data(self, at_s: float, pid: int) -> list[Row]:
        """Read one value of the engine by service 01."""
        answer = bytes([0x41, pid]) + obd.pid_value(pid, self._value(obd.PIDS[pid][0], at_s))
        return self._all(at_s, bytes([0x01, pid]), {ENGINE: answer})

    def cycle(self, at_s: float, number: int) -> tuple[list[Row], float]:
        """Return all requests of one round, and when it ends."""
        rows = self._clear_before(at_s)
        at = at_s
        for question in self._questions(number):
            if self._clears and self._clears[0] <= at:
                self._clears.pop(0)
                rows += self._clear(at)
                at += STEP_S * (1 + len(self._uds_units))
            if found := question(at):
                rows += found
                at += STEP_S
        return rows, at

    def _questions(self, number: int) -> Iterator[_Exchange]:
        yield partial(self._codes, 0x03, ("confirmed", "permanent"))
        yield partial(self._codes, 0x07, ("pending",))
        if number % 2:
            yield partial(self._codes, 0x0A, ("permanent",))
        yield self._monitors
        yield from (partial(self._freeze_frame, pid) for pid in (0x02, 0x05, 0x0C, 0x0D))
        for unit in self._uds_units:
            yield from (partial(ask, unit) for ask in (self._uds_codes, self._snapshot, self._extended_data))
        yield from (partial(self._refusal, refusal) for refusal in self._fault.refusals)

    def _clear_before(self, at_s: float) -> list[Row]:
        rows: list[Row] = []
        while self._clears and self._clears[0] < at_s:
            rows += self._clear(self._clears.pop(0))
        return rows

    def _clear(self, at_s: float) -> list[Row]:
        """Clear all codes: OBD service 04, and UDS 0x14 where codes are read by UDS."""
        rows = self._all(at_s, b"\x04", dict.fromkeys(_EMISSION_UNITS, b"\x44"))
        for number, unit in enumerate(self._uds_units, 1):
            rows += self._one(at_s + number * STEP_S, unit, b"\x14\xff\xff\xff", b"\x54")
        return rows

    def _value(self, signal: str, at_s: float) -> float:
        return float(self._signals.values(signal, np.array([at_s]))[0])

    def _all(self, at_s: float, request: bytes, answers: dict[int, bytes]) -> list[Row]:
        heard = [(u, a) for u, a in answers.items() if not self._fault.is_silent(u, at_s, self._start_s)]
        return obd.ask_all(at_s, self._ids, request, heard)

    def _one(self, at_s: float, unit: int, request: bytes, *answers: bytes) -> list[Row]:
        heard = () if self._fault.is_silent(unit, at_s, self._start_s) else answers
        return obd.ask(at_s, self._ids, unit, request, *heard)

    def _held(self, unit: int, at_s: float, kinds: tuple[str, ...]) -> list[ObdCode]:
        return [
            c for c in self._fault.obd if c.unit == unit and c.kind in kinds and c.when.is_active(at_s, self._start_s)
        ]

    def _codes(self, service: int, kinds: tuple[str, ...], at_s: float) -> list[Row]:
        answers = {u: obd.code_list(service, [c.code for c in self._held(u, at_s, kinds)]) for u in _EMISSION_UNITS}
        return self._all(at_s, bytes([service]), answers)

    def _monitors(self, at_s: float) -> list[Row]:
        stored = {u: len(self._held(u, at_s, ("confirmed", "permanent"))) for u in _EMISSION_UNITS}
        return self._all(at_s, b"\x01\x01", {u: obd.monitor_status(count) for u, count in stored.items()})

    def _freeze_frame(self, pid: int, at_s: float) -> list[Row]:
        kept = [c for u in _EMISSION_UNITS for c in self._held(u, at_s, ("confirmed", "permanent")) if c.freeze_frame]
        if not kept:
            return []
        code = kept[0]
        set_at = self._start_s + code.when.after_s
        value = obd.dtc_bytes(code.code) if pid == 0x02 else obd.pid_value(pid, self._value(obd.PIDS[pid][0], set_at))
        return self._one(at_s, code.unit, bytes([0x02, pid, 0]), bytes([0x42, pid, 0]) + value)

    def _statuses(self, unit: int, at_s: float) -> list[tuple[str, int]]:
        """Return the codes of a unit with their status byte; one that never failed is not listed."""
        found: list[tuple[str, int]] = []
        for code in self._fault.uds:
            if code.unit == unit and code.when.begun(at_s, self._start_s):
                failing = code.when.is_active(at_s, self._start_s)
                found.append((code.code, code.status if failing else code.status_after))
        return [(text, status) for text, status in found if status]

    def _uds_codes(self, unit: int, at_s: float) -> list[Row]:
        return self._one(at_s, unit, bytes([0x19, 0x02, _ALL_BITS]), obd.uds_code_list(self._statuses(unit, at_s)))

    def _snapshot(self, unit: int, at_s: float) -> list[Row]:
        statuses = self._statuses(unit, at_s)
        if not statuses:
            return []
        code, status = statuses[0]
        values = {name: self._value(name, self._start_s) for name, _, _ in obd.SNAPSHOT_IDS.values()}
        request = bytes([0x19, 0x04]) + obd.dtc_bytes(code) + b"\x01"
        return self._one(at_s, unit, request, obd.uds_snapshot(code, status, values))

    def _extended_data(self, unit: int, at_s: float) -> list[Row]:
        statuses = self._statuses(unit, at_s)
        if not statuses:
            return []
        code, status = statuses[0]
        begun = next(c for c in self._fault.uds if c.unit == unit and c.code == code).when.begun(at_s, self._start_s)
        request = bytes([0x19, 0x06]) + obd.dtc_bytes(code) + b"\x01"
        return self._one(at_s, unit, request, obd.uds_extended_data(code, status, begun))

    def _refusal(self, refusal: Refusal, at_s: float) -> list[Row]:
        service = refusal.request[0]
        answers = [obd.negative(service, refusal.response_code)]
        if refusal.response_code == obd.RESPONSE_PENDING:
            answers.append(bytes([service + obd.RESPONSE]) + refusal.request[1:])
        return self._one(at_s, refusal.unit, refusal.request, *answers)
