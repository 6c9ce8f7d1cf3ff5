"""Sources and severities of what ECUs answer to testers: OBD (SAE J1979), UDS (ISO 14229-1) and KWP2000 (ISO 14230-3)."""

from typing import Final

from argus_assets.faults.declaration import Declaration, Severity

DIAGNOSTICS: Final = Declaration(
    name="diagnostics",
    module="argus_assets.faults.uds_obd.detector",
    reads="OBD and UDS diagnostics",
    sources=(
        "obd_mode01",
        "obd_mode03",
        "obd_mode04",
        "obd_mode07",
        "obd_mode0a",
        "uds_dtc",
        "uds_clear",
        "uds_negative",
        "uds_programming",
        "kwp_dtc",
    ),
    severities={
        # SAE J1979: mode 03 lists codes that were confirmed, for most of them over two driving cycles.
        "obd: confirmed code (mode 03)": Severity.ERROR,
        # A pending code failed in this or the last driving cycle only. A permanent one waits for proof of its repair;
        # while its lamp is on, mode 03 lists it too.
        "obd: pending code (mode 07)": Severity.WARNING,
        "obd: permanent code (mode 0A)": Severity.WARNING,
        "obd: malfunction lamp on (mode 01)": Severity.ERROR,
        # ISO 14229-1, D.2: status bits of a DTC, worst first.
        "uds: warning indicator requested": Severity.ERROR,
        "uds: test failed now and confirmed": Severity.ERROR,
        "uds: test failed now, not confirmed": Severity.WARNING,
        "uds: confirmed, not failing now": Severity.WARNING,
        "uds: pending, not failing now": Severity.INFO,
        # ISO 14230-3, 8.1: how a code is stored.
        "kwp: there now": Severity.ERROR,
        "kwp: maturing or intermittent": Severity.WARNING,
        "kwp: stored, not there now": Severity.WARNING,
        # Somebody worked on the vehicle: no fault, but what came before must be read with it.
        "clear: codes cleared": Severity.INFO,
        "programming: control unit is programmed": Severity.INFO,
        # ISO 14229-1, A.1, by kind. A tester that asks for what an ECU does not have says nothing of the vehicle.
        "negative response: not supported": Severity.INFO,
        "negative response: conditions not met": Severity.INFO,
        "negative response: access denied": Severity.WARNING,
        "negative response: not carried out": Severity.WARNING,
        "negative response: not in ISO 14229-1": Severity.INFO,
    },
    left_to_dictionary=frozenset(
        {"kwp: there now", "obd: confirmed code (mode 03)", "uds: test failed now and confirmed"}
    ),
)
