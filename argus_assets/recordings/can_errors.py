"""CAN error frames as SocketCAN describes them (linux/can/error.h), whichever recorder logged them.

An error frame on the wire has no identifier. The frame table holds class bits in its place, and in the payload the
eight bytes of detail: [1] controller state, [2] kind of protocol error, [3] where in the frame, [4] transceiver,
[6] and [7] the transmit and receive error counters. A recorder that knows nothing of an error gives class 0 and no
payload.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.integer]

ERROR_BYTES: Final = 8
"""Bytes of payload of every SocketCAN error frame (`CAN_ERR_DLC`)."""

# Class bits, in place of the identifier.
TX_TIMEOUT, LOST_ARBITRATION, CONTROLLER, PROTOCOL, TRANSCEIVER = 0x01, 0x02, 0x04, 0x08, 0x10
NO_ACK, BUS_OFF, BUS_ERROR, RESTARTED, COUNTERS = 0x20, 0x40, 0x80, 0x100, 0x200

# Byte 1, of class CONTROLLER.
RX_OVERFLOW, TX_OVERFLOW, RX_WARNING, TX_WARNING = 0x01, 0x02, 0x04, 0x08
RX_PASSIVE, TX_PASSIVE, BACK_TO_ACTIVE = 0x10, 0x20, 0x40

# Byte 2, of class PROTOCOL.
BIT, FORM, STUFF, BIT_DOMINANT, BIT_RECESSIVE, OVERLOAD, TRANSMITTING = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x80

# Byte 3, of class PROTOCOL: segments as NXP's SJA1000 numbers them.
AT_CRC, AT_CRC_DELIMITER, AT_ACK, AT_ACK_DELIMITER = 0x08, 0x18, 0x19, 0x1B

LOCATIONS: Final = {
    0x03: "start of frame",
    0x02: "identifier bits 28 to 21",
    0x06: "identifier bits 20 to 18",
    0x04: "substitute remote request",
    0x05: "identifier extension",
    0x07: "identifier bits 17 to 13",
    0x0F: "identifier bits 12 to 5",
    0x0E: "identifier bits 4 to 0",
    0x0C: "remote request",
    0x0D: "reserved bit 1",
    0x09: "reserved bit 0",
    0x0B: "data length code",
    0x0A: "data",
    AT_CRC: "CRC sequence",
    AT_CRC_DELIMITER: "CRC delimiter",
    AT_ACK: "acknowledge slot",
    AT_ACK_DELIMITER: "acknowledge delimiter",
    0x1A: "end of frame",
    0x12: "intermission",
}
"""Positions in a frame where an error was detected (byte 3)."""

_SJA1000_VALID, _CORE_VALID = 1, 2
"""Flags of Vector's error frames: which register the error code is of."""

_CORE_KINDS: Final = np.zeros((64, 2), np.uint8)
"""Bytes 2 and 3 by the error code of Vector's CAN core. 3, other, has no detail."""
_CORE_KINDS[0] = BIT, 0
_CORE_KINDS[1] = FORM, 0
_CORE_KINDS[2] = STUFF, 0
_CORE_KINDS[4] = 0, AT_CRC
_CORE_KINDS[5] = FORM, AT_ACK_DELIMITER
_CORE_KINDS[7] = 0, AT_ACK

_SJA1000_KINDS: Final = np.array([BIT, FORM, STUFF, 0], np.uint8)
"""Byte 2 by the upper two bits of the SJA1000's error code capture."""

_MDF4_KINDS: Final = np.array([(0, 0), (BIT, 0), (FORM, 0), (STUFF, 0), (0, AT_CRC), (0, AT_ACK)], np.uint8)
"""Bytes 2 and 3 by `CAN_ErrorFrame.ErrorType` (ASAM MDF 4, bus logging): unknown, bit, form, stuff, CRC, acknowledge."""


def of_vector(flags: Numbers, code: U8) -> tuple[U32, U8]:
    """Translate errors of Vector's BLF and ASC files into SocketCAN's class bits and error data.

    Args:
        flags: Which register `code` is of: bit 0 the SJA1000's error code capture, bit 1 that of Vector's CAN core;
            neither when the recorder does not know. Shape (n,).
        code: The register. Shape (n,).

    Returns:
        Class bits, shape (n,), and payloads, shape (n, 8).
    """
    of_sja1000 = (flags & _SJA1000_VALID) != 0
    of_core = ~of_sja1000 & ((flags & _CORE_VALID) != 0)
    details = np.zeros((len(code), ERROR_BYTES), np.uint8)
    details[of_core, 2:4] = _CORE_KINDS[code[of_core] & 0x3F]
    details[of_sja1000, 2] = _SJA1000_KINDS[code[of_sja1000] >> 6]
    details[of_sja1000, 3] = code[of_sja1000] & 0x1F
    # The core's upper bits: 1 and 3 while transmitting. The SJA1000's bit 5: 1 while receiving.
    sent = (of_core & ((code & 0x40) != 0)) | (of_sja1000 & ((code & 0x20) == 0))
    details[sent, 2] |= TRANSMITTING
    return _classes(of_core | of_sja1000), details


def of_mdf4(error_type: Numbers, sent: npt.NDArray[np.bool_]) -> tuple[U32, U8]:
    """Translate errors of MDF 4 bus logging into SocketCAN's class bits and error data.

    Args:
        error_type: `CAN_ErrorFrame.ErrorType`, 0 where the recorder does not know. Shape (n,).
        sent: Whether the recorder was transmitting. Shape (n,).

    Returns:
        Class bits, shape (n,), and payloads, shape (n, 8).
    """
    known = (error_type > 0) & (error_type < len(_MDF4_KINDS))
    details = np.zeros((len(error_type), ERROR_BYTES), np.uint8)
    details[known, 2:4] = _MDF4_KINDS[error_type[known]]
    details[known & sent, 2] |= TRANSMITTING
    return _classes(known), details


def _classes(known: npt.NDArray[np.bool_]) -> U32:
    return np.where(known, PROTOCOL | BUS_ERROR, 0).astype(np.uint32)
