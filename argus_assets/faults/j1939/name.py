"""NAMEs that ECUs state in their address claims (SAE J1939-81, PGN 60928).

`data/j1939_functions.csv` holds the usual functions of vehicles, in our own words. Functions from 128 on mean
something else in each industry group and vehicle system; those of all groups and of on-highway vehicles are listed.
"""

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal, NamedTuple

import polars as pl

from argus_assets.faults.can_frames import TIME_ORDER
from argus_assets.faults.j1939.identifier import SOURCE_ADDRESS, carries, sa

IS_CLAIM: Final = carries(0xEE00)
"""Filter for address claims."""

_NULL_ADDRESS: Final = 0xFE
"""An ECU that sends its NAME from here could not claim an address (J1939-81, 4.2.2.3)."""

_NAME_BYTES: Final = 8
_COMMON_FUNCTIONS: Final = 128
"""Functions below mean the same in every industry group."""


class Name(NamedTuple):
    """A NAME (J1939-81, 4.1.1), from its lowest bit to its highest.

    Attributes:
        identity_number: The manufacturer's serial number of the ECU, 21 bits.
        manufacturer_code: Given by SAE, 11 bits.
        ecu_instance: Which ECU of those that share the function, 3 bits.
        function_instance: Which of several equal functions, 5 bits.
        function: What it does, 8 bits.
        vehicle_system: The kind of vehicle part that it is in, 7 bits.
        vehicle_system_instance: Which of several equal vehicle systems, 4 bits.
        industry_group: 0 all, 1 on-highway, 2 agriculture, 3 construction, 4 marine, 5 industrial; 3 bits.
        arbitrary_address_capable: Whether it takes another address when it loses its own.
    """

    identity_number: int
    manufacturer_code: int
    ecu_instance: int
    function_instance: int
    function: int
    vehicle_system: int
    vehicle_system_instance: int
    industry_group: int
    arbitrary_address_capable: bool

    @classmethod
    def of(cls, payload: bytes) -> "Name":
        """Decode the 8 bytes of an address claim."""
        bits = int.from_bytes(payload[:_NAME_BYTES], "little")
        return cls(
            identity_number=bits & 0x1FFFFF,
            manufacturer_code=bits >> 21 & 0x7FF,
            ecu_instance=bits >> 32 & 0b111,
            function_instance=bits >> 35 & 0b11111,
            function=bits >> 40 & 0xFF,
            # Bit 48 is reserved.
            vehicle_system=bits >> 49 & 0x7F,
            vehicle_system_instance=bits >> 56 & 0xF,
            industry_group=bits >> 60 & 0b111,
            arbitrary_address_capable=bool(bits >> 63),
        )

    @property
    def text(self) -> str:
        """`engine #0, manufacturer 123, identity 4711`; the number is the function instance."""
        group, system = str(self.industry_group), str(self.vehicle_system)
        common = self.function < _COMMON_FUNCTIONS
        function = _functions().get(("", "", str(self.function)) if common else (group, system, str(self.function)))
        if function is None:
            function = f"function {self.function} (industry group {group}, vehicle system {system})"
        ecu = f", ECU {self.ecu_instance}" if self.ecu_instance else ""
        return (
            f"{function} #{self.function_instance}{ecu}, manufacturer {self.manufacturer_code}, "
            f"identity {self.identity_number}"
        )


def find_claims(rows: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Find the address claims among `rows`.

    Args:
        rows: `can.data_frames`.

    Returns:
        channel, address, timestamp (ns) and ecu_name of each claim, in time order, and notes.
    """
    every = rows.filter(IS_CLAIM).sort(TIME_ORDER).select("channel", "timestamp", "payload", address=SOURCE_ADDRESS)
    claims = every.filter(pl.col("payload").bin.size() >= _NAME_BYTES)
    # An ECU claims its address at each start, and when it is asked: distinct NAMEs are few.
    texts = {payload: Name.of(payload).text for payload in claims["payload"].unique()}
    named = claims.with_columns(ecu_name=_looked_up(claims["payload"], texts)).drop("payload")
    notes = (*_short_notes(every), *_address_notes(named))
    return named.filter(pl.col("address") != _NULL_ADDRESS), notes


def with_names(reports: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Add `ecu_name`: the NAME that held the address at the time of a report.

    A claim holds from its time on, because an address may change its owner. Before the first claim, that one is the
    only NAME known, and the recording may have begun after an earlier one.

    Args:
        reports: channel, address, timestamp and any other columns.
        claims: `find_claims`.
    """
    held = _nearest_claim(reports.sort("timestamp", maintain_order=True), claims, "backward", "_held")
    return (
        _nearest_claim(held, claims, "forward", "_later")
        .with_columns(ecu_name=pl.coalesce("_held", "_later"))
        .drop("_held", "_later")
    )


def _nearest_claim(
    reports: pl.DataFrame, claims: pl.DataFrame, strategy: Literal["backward", "forward"], name: str
) -> pl.DataFrame:
    by = ["channel", "address"]
    return reports.join_asof(
        claims.select(*by, "timestamp", pl.col("ecu_name").alias(name)),
        on="timestamp",
        by=by,
        strategy=strategy,
        # polars cannot check the order within groups; both are sorted as a whole.
        check_sortedness=False,
    )


def _looked_up(payloads: pl.Series, texts: Mapping[bytes, str]) -> pl.Series:
    return pl.Series([texts[payload] for payload in payloads], dtype=pl.String)


def _short_notes(claims: pl.DataFrame) -> Iterator[str]:
    short = claims.filter(pl.col("payload").bin.size() < _NAME_BYTES)
    for channel, address, count in short.group_by("channel", "address").len().sort(pl.all()).iter_rows():
        yield f"{channel} {sa(address)}: {count} address claims are shorter than {_NAME_BYTES} bytes and were left out."


def _address_notes(claims: pl.DataFrame) -> Iterator[str]:
    owners = claims.group_by("channel", "address").agg(pl.col("ecu_name").unique(maintain_order=True))
    for channel, address, names in owners.sort("channel", "address").iter_rows():
        if address == _NULL_ADDRESS:
            yield f"{channel}: could not claim an address: {'; '.join(names)}."
        elif len(names) > 1:
            yield (
                f"{channel} {sa(address)}: {len(names)} ECUs claimed this address ({'; '.join(names)}); an event names "
                "the one that held it at the time."
            )


@cache
def _functions() -> Mapping[tuple[str, str, str], str]:
    """Return function names by industry group, vehicle system (empty for functions of all groups) and function."""
    text = (files("argus_assets.faults") / "data" / "j1939_functions.csv").read_text("utf-8")
    return {(group, system, function): name for group, system, function, name in csv.reader(text.splitlines()[1:])}
