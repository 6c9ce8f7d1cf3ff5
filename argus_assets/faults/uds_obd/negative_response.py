"""Refused requests: negative answers (0x7F) of OBD and UDS as events of their own (ISO 14229-1, annex A.1)."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from argus_assets.faults.activations import as_reports
from argus_assets.faults.can_frames import byte

_MIN_BYTES: Final = 3
"""0x7F, the service that was refused, and the response code."""

RESPONSE_PENDING: Final = 0x78
"""The ECU needs more time; the answer proper follows."""

LONGEST_GAP_NS: Final = 10_000_000_000
"""A refusal has no "inactive": what was not refused again for longer than this has ended."""

_LAST_OBD_SERVICE: Final = 0x0A

SERVICES: Final = {
    0x01: "current data",
    0x02: "freeze frame",
    0x03: "confirmed codes",
    0x04: "clear codes",
    0x05: "oxygen sensor tests",
    0x06: "monitor test results",
    0x07: "pending codes",
    0x08: "control of a system",
    0x09: "vehicle information",
    0x0A: "permanent codes",
    0x10: "DiagnosticSessionControl",
    0x11: "ECUReset",
    0x14: "ClearDiagnosticInformation",
    0x19: "ReadDTCInformation",
    0x22: "ReadDataByIdentifier",
    0x23: "ReadMemoryByAddress",
    0x24: "ReadScalingDataByIdentifier",
    0x27: "SecurityAccess",
    0x28: "CommunicationControl",
    0x29: "Authentication",
    0x2A: "ReadDataByPeriodicIdentifier",
    0x2C: "DynamicallyDefineDataIdentifier",
    0x2E: "WriteDataByIdentifier",
    0x2F: "InputOutputControlByIdentifier",
    0x31: "RoutineControl",
    0x34: "RequestDownload",
    0x35: "RequestUpload",
    0x36: "TransferData",
    0x37: "RequestTransferExit",
    0x38: "RequestFileTransfer",
    0x3D: "WriteMemoryByAddress",
    0x3E: "TesterPresent",
    0x83: "AccessTimingParameter",
    0x84: "SecuredDataTransmission",
    0x85: "ControlDTCSetting",
    0x86: "ResponseOnEvent",
    0x87: "LinkControl",
}
"""Services of OBD (SAE J1979, in our words) and UDS (ISO 14229-1, their names)."""

NOT_SUPPORTED: Final = "negative response: not supported"
CONDITIONS: Final = "negative response: conditions not met"
SECURITY: Final = "negative response: access denied"
FAILED: Final = "negative response: not carried out"
OTHER: Final = "negative response: not in ISO 14229-1"
"""Severity rules (`severity.RULES`)."""

RESPONSE_CODES: Final = {
    0x10: ("generalReject", FAILED),
    0x11: ("serviceNotSupported", NOT_SUPPORTED),
    0x12: ("subFunctionNotSupported", NOT_SUPPORTED),
    0x13: ("incorrectMessageLengthOrInvalidFormat", NOT_SUPPORTED),
    0x14: ("responseTooLong", NOT_SUPPORTED),
    0x21: ("busyRepeatRequest", CONDITIONS),
    0x22: ("conditionsNotCorrect", CONDITIONS),
    0x24: ("requestSequenceError", CONDITIONS),
    0x25: ("noResponseFromSubnetComponent", FAILED),
    0x26: ("failurePreventsExecutionOfRequestedAction", FAILED),
    0x31: ("requestOutOfRange", NOT_SUPPORTED),
    0x33: ("securityAccessDenied", SECURITY),
    0x34: ("authenticationRequired", SECURITY),
    0x35: ("invalidKey", SECURITY),
    0x36: ("exceedNumberOfAttempts", SECURITY),
    0x37: ("requiredTimeDelayNotExpired", SECURITY),
    0x50: ("certificateVerificationFailedInvalidTimePeriod", SECURITY),
    0x51: ("certificateVerificationFailedInvalidSignature", SECURITY),
    0x52: ("certificateVerificationFailedInvalidChainOfTrust", SECURITY),
    0x53: ("certificateVerificationFailedInvalidType", SECURITY),
    0x54: ("certificateVerificationFailedInvalidFormat", SECURITY),
    0x55: ("certificateVerificationFailedInvalidContent", SECURITY),
    0x56: ("certificateVerificationFailedInvalidScope", SECURITY),
    0x57: ("certificateVerificationFailedInvalidCertificate", SECURITY),
    0x58: ("ownershipVerificationFailed", SECURITY),
    0x59: ("challengeCalculationFailed", SECURITY),
    0x5A: ("settingAccessRightsFailed", SECURITY),
    0x5B: ("sessionKeyCreationDerivationFailed", SECURITY),
    0x5C: ("configurationDataUsageFailed", SECURITY),
    0x5D: ("deAuthenticationFailed", SECURITY),
    0x70: ("uploadDownloadNotAccepted", FAILED),
    0x71: ("transferDataSuspended", FAILED),
    0x72: ("generalProgrammingFailure", FAILED),
    0x73: ("wrongBlockSequenceCounter", FAILED),
    0x7E: ("subFunctionNotSupportedInActiveSession", NOT_SUPPORTED),
    0x7F: ("serviceNotSupportedInActiveSession", NOT_SUPPORTED),
    0x81: ("rpmTooHigh", CONDITIONS),
    0x82: ("rpmTooLow", CONDITIONS),
    0x83: ("engineIsRunning", CONDITIONS),
    0x84: ("engineIsNotRunning", CONDITIONS),
    0x85: ("engineRunTimeTooLow", CONDITIONS),
    0x86: ("temperatureTooHigh", CONDITIONS),
    0x87: ("temperatureTooLow", CONDITIONS),
    0x88: ("vehicleSpeedTooHigh", CONDITIONS),
    0x89: ("vehicleSpeedTooLow", CONDITIONS),
    0x8A: ("throttlePedalTooHigh", CONDITIONS),
    0x8B: ("throttlePedalTooLow", CONDITIONS),
    0x8C: ("transmissionRangeNotInNeutral", CONDITIONS),
    0x8D: ("transmissionRangeNotInGear", CONDITIONS),
    0x8F: ("brakeSwitchNotClosed", CONDITIONS),
    0x90: ("shifterLeverNotInPark", CONDITIONS),
    0x91: ("torqueConverterClutchLocked", CONDITIONS),
    0x92: ("voltageTooHigh", FAILED),
    0x93: ("voltageTooLow", FAILED),
    0x94: ("resourceTemporarilyNotAvailable", CONDITIONS),
}
"""Negative response codes with their names (ISO 14229-1:2020, table A.1) and the severity rule of their kind."""


def negative_code(service: int, response_code: int) -> str:
    """Return the code of a refusal, service and response code in hex: `UDS_NRC_22_31`, `OBD_NRC_…` for OBD services."""
    return f"{'OBD' if service <= _LAST_OBD_SERVICE else 'UDS'}_NRC_{service:02X}_{response_code:02X}"


def negative_text(service: int, response_code: int) -> str:
    """Describe a refusal: `ReadDataByIdentifier (0x22) refused: requestOutOfRange (0x31)`."""
    name, _ = RESPONSE_CODES.get(response_code, ("unknown response code", OTHER))
    return f"{SERVICES.get(service, 'service')} (0x{service:02X}) refused: {name} (0x{response_code:02X})"


def find_reports(answers: pl.DataFrame) -> pl.DataFrame:
    """Report every refusal but `responsePending`.

    Args:
        answers: `conversation.ANSWERS`.

    Returns:
        `activations.REPORTS`.
    """
    refusals = (
        answers.filter("is_negative")
        .with_columns(response_code=byte(2))
        .filter(pl.col("response_code").is_not_null(), pl.col("response_code") != RESPONSE_PENDING)
    )
    distinct = refusals.select("service", "response_code").unique()
    texts = distinct.with_columns(
        pl.Series("code", [negative_code(*pair) for pair in distinct.iter_rows()], dtype=pl.String),
        pl.Series("message", [negative_text(*pair) for pair in distinct.iter_rows()], dtype=pl.String),
        severity_rule=pl.col("response_code").replace_strict(
            {code: rule for code, (_, rule) in RESPONSE_CODES.items()}, default=OTHER, return_dtype=pl.String
        ),
    )
    return as_reports(
        refusals.join(texts, on=["service", "response_code"]).with_columns(
            source=pl.lit("uds_negative"),
            status=pl.lit("occurred"),
            # Only the gap ends a burst.
            seq=pl.lit(0),
        )
    )


def notes(answers: pl.DataFrame) -> Iterator[str]:
    """Count refusals that are cut short, by ECU."""
    short = answers.filter("is_negative", pl.col("payload").bin.size() < _MIN_BYTES)
    for channel, ecu, count in short.group_by("channel", "ecu").len().sort("channel", "ecu").iter_rows():
        yield f"{channel} {ecu}: {count} negative responses are shorter than {_MIN_BYTES} bytes and were left out."
