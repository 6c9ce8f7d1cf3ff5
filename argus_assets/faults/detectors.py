"""The detectors of this package. A new one is a folder with a `declaration.py` and a detector, and a line here."""

from typing import Final

from argus_assets.faults.can_bus.declaration import BUS_HEALTH, CAN_ERRORS
from argus_assets.faults.declaration import Declaration
from argus_assets.faults.j1939.declaration import J1939
from argus_assets.faults.medkit.declaration import MEDKIT
from argus_assets.faults.rules.declaration import RULES
from argus_assets.faults.software.declaration import SOFTWARE
from argus_assets.faults.uds_obd.declaration import DIAGNOSTICS

DETECTORS: Final[tuple[Declaration, ...]] = (J1939, DIAGNOSTICS, CAN_ERRORS, BUS_HEALTH, SOFTWARE, MEDKIT, RULES)
"""In the order in which they run, and of their sources in the tables."""

NAMES: Final = tuple(d.name for d in DETECTORS)
"""Names by which they are disabled, and which no plug-in may have."""
