"""Who is behind a source address: the NAME of SAE J1939-81 that an ECU claims it with."""

from typing import Final, NamedTuple

import polars as pl

IS_ADDRESS_CLAIM: Final = (pl.col("arbitration_id") & 0x03FF0000) == 0xEE << 16
"""Filter for address claims (PGN 60928)."""

_CANNOT_CLAIM: Final = 254
"""Source address of an ECU that found none."""

_FUNCTIONS: Final = {
    0: "engine",
    1: "auxiliary power unit",
    2: "electric drive",
    3: "transmission",
    4: "battery monitor",
    5: "shift console",
    6: "power take-off",
    7: "steered axle",
    8: "driven axle",
    9: "brakes",
    10: "brakes of the steered axle",
    11: "brakes of the driven axle",
    12: "engine retarder",
    13: "driveline retarder",
    14: "cruise control",
    15: "fuel system",
    16: "steering",
    17: "suspension of the steered axle",
    18: "suspension of the driven axle",
    19: "instrument cluster",
    20: "trip recorder",
    21: "cab climate",
    23: "navigation",
    24: "vehicle security",
    25: "network gateway",
    26: "body controller",
    28: "gateway to the outside",
    29: "operator terminal",
    30: "management computer",
    32: "headway controller",
    33: "system monitor",
    36: "pneumatics",
    37: "cab controller",
    38: "tyre pressure",
    40: "seat",
    42: "water pump",
    44: "exhaust emission controller",
    45: "stability control",
    48: "ramp",
}
"""Functions that mean the same in every industry group (below 128), those that trucks and buses have most."""


class Name(NamedTuple):
    """The fields of a NAME (J1939-81, 4.1.1), 64 bits.

    Attributes:
        identity_number: 21 bits, given by the manufacturer.
        manufacturer_code: 11 bits, given by SAE.
        ecu_instance: 3 bits, from 0.
        function_instance: 5 bits, from 0.
        function: 8 bits.
        vehicle_system: 7 bits.
        vehicle_system_instance: 4 bits.
        industry_group: 3 bits: 0 is for all, 1 on-highway.
        is_arbitrary_address_capable: Whether it takes another address when it loses its own.
    """

    identity_number: int
    manufacturer_code: int
    ecu_instance: int
    function_instance: int
    function: int
    vehicle_system: int
    vehicle_system_instance: int
    industry_group: int
    is_arbitrary_address_capable: bool

    @property
    def text(self) -> str:
        """`engine, manufacturer 123, identity 4711`."""
        what = _FUNCTIONS.get(self.function, f"function {self.function}")
        instances = [
            f"{name} {number + 1}"
            for name, number in (("instance", self.function_instance), ("ECU", self.ecu_instance))
            if number
        ]
        return ", ".join(
            [what, *instances, f"manufacturer {self.manufacturer_code}", f"identity {self.identity_number}"]
        )


def parse_name(payload: bytes) -> Name | None:
    """Decode a NAME, `None` when there are no 8 bytes."""
    if len(payload) < 8:
        return None
    number = int.from_bytes(payload[:8], "little")
    fields: list[int] = []
    for bits in (21, 11, 3, 5, 8, -1, 7, 4, 3):
        if bits > 0:
            fields.append(number & (1 << bits) - 1)
        number >>= abs(bits)
    return Name(*fields, is_arbitrary_address_capable=bool(number))


def claims(rows: pl.DataFrame) -> pl.DataFrame:
    """Who claimed which address, and when.

    Args:
        rows: `can.data_frames`, in time order.

    Returns:
        channel, source_address (Int64), timestamp (ns), ecu_name.
    """
    claimed = rows.filter(IS_ADDRESS_CLAIM).select(
        "channel", "timestamp", "payload", source_address=pl.col("arbitration_id").cast(pl.Int64) % 2**8
    )
    names = {payload: name.text for payload in claimed["payload"].unique() if (name := parse_name(payload))}
    known = pl.DataFrame(
        {"payload": list(names), "ecu_name": list(names.values())},
        schema={"payload": pl.Binary, "ecu_name": pl.String},
    )
    return (
        claimed.filter(pl.col("source_address") < _CANNOT_CLAIM)
        .join(known, on="payload", maintain_order="left")
        .select("channel", "source_address", "timestamp", "ecu_name")
    )


def with_names(messages: pl.DataFrame, claimed: pl.DataFrame) -> pl.DataFrame:
    """Add `ecu_name`: the last one claimed before, or the first of all where there was none before.

    Args:
        messages: channel, source_address and timestamp, in time order.
        claimed: `claims`.
    """
    owner = ["channel", "source_address"]
    first = claimed.group_by(owner, maintain_order=True).agg(pl.col("ecu_name").first())
    return (
        messages.join_asof(
            claimed.sort("timestamp", maintain_order=True), on="timestamp", by=owner, check_sortedness=False
        )
        .join(first, on=owner, how="left", suffix="_first", maintain_order="left")
        .with_columns(ecu_name=pl.coalesce("ecu_name", "ecu_name_first"))
        .drop("ecu_name_first")
    )
