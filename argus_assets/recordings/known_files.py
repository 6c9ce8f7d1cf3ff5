"""Kinds of files that are no recordings, or are of a format that is not read: named by their first bytes, with what helps."""

from typing import Final, NamedTuple


class KnownFile(NamedTuple):
    """A kind of file.

    Attributes:
        offset: Where its mark stands.
        mark: The bytes that show it.
        name: What it is.
        advice: What reads it, or makes a recording of it that is read.
    """

    offset: int
    mark: bytes
    name: str
    advice: str


_UNPACK: Final = "Unpack it, and record the files that are in it: an archive is not opened."
_CONVERT: Final = "Its records have longer headers. Convert it: `editcap -F pcapng a.pcap a.pcapng`."
_KEEP: Final = "It is no recording: leave it out of the drop."

KNOWN_FILES: Final[tuple[KnownFile, ...]] = (
    KnownFile(0, b"#ROSBAG V1", "a ROS 1 bag of version 1", "Convert it with `rosbag migrate` or `rosbag fix`."),
    KnownFile(
        0,
        b"MDF     3",
        "MDF 3",
        "Only MDF 4 is read. Convert it: `asammdf.MDF('a.dat').convert('4.10').save('a.mf4')`.",
    ),
    KnownFile(0, b"MDF     2", "MDF 2", "Only MDF 4 is read. Convert it with a tool of its maker."),
    KnownFile(0, b"\x34\xcd\xb2\xa1", "a pcap of a patched libpcap", _CONVERT),
    KnownFile(0, b"\xa1\xb2\xcd\x34", "a pcap of a patched libpcap", _CONVERT),
    KnownFile(
        0,
        b"DLT\x01",
        "a DLT log (AUTOSAR diagnostic log and trace)",
        "It is not read. A plug-in can read it: see docs/recordings.md.",
    ),
    KnownFile(0, b"PK\x03\x04", "a ZIP archive", _UNPACK),
    KnownFile(0, b"PK\x05\x06", "an empty ZIP archive", _KEEP),
    KnownFile(0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    KnownFile(0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    KnownFile(257, b"ustar", "a tar archive", _UNPACK),
    KnownFile(
        0,
        b"\x04\x22\x4d\x18",
        "an lz4 file",
        "Unpack it with `lz4 -d`; gzip, zstd, bz2 and xz are unpacked by themselves.",
    ),
    KnownFile(0, b"LRZI", "an lrzip file", "Unpack it first."),
    KnownFile(0, b"\x89HDF\r\n\x1a\n", "HDF5", "It is not read; a MATLAB 7.3 file is HDF5, too."),
    KnownFile(0, b"MATLAB 5.0 MAT-file", "a MATLAB file", "It is not read. Export it as MDF 4."),
    KnownFile(0, b"PAR1", "Parquet", "It is not read as a recording."),
    KnownFile(0, b"ARROW1", "Arrow", "It is not read as a recording."),
    KnownFile(0, b"%PDF-", "a PDF document", _KEEP),
    KnownFile(0, b"\x89PNG\r\n\x1a\n", "a PNG picture", _KEEP),
    KnownFile(0, b"\xff\xd8\xff", "a JPEG picture", _KEEP),
    KnownFile(0, b"\x7fELF", "a program", _KEEP),
    KnownFile(0, b"MZ", "a Windows program", _KEEP),
    KnownFile(4, b"ftyp", "an MP4 video", _KEEP),
    KnownFile(0, b"\x1aE\xdf\xa3", "a Matroska video", _KEEP),
    KnownFile(0, b"RIFF", "a RIFF file (video or sound)", _KEEP),
    KnownFile(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", _KEEP),
    KnownFile(0, b"<?xml", "XML", "It is not read as a recording."),
    KnownFile(
        0,
        b'VERSION "',
        "a DBC database",
        "It says how to decode recordings: name it in the faults file, and do not drop it.",
    ),
    KnownFile(
        0,
        b"version https://git-lfs",
        "a pointer of Git LFS",
        "The file itself is elsewhere: fetch it with `git lfs pull`.",
    ),
    KnownFile(0, b"<!DOCTYPE html", "a web page", "The download failed: the file is a page instead of a recording."),
    KnownFile(0, b"<html", "a web page", "The download failed: the file is a page instead of a recording."),
    KnownFile(0, b"\xff\xfe", "UTF-16 text of no log that is known", "Save it in the format of its tool."),
    KnownFile(0, b"\xfe\xff", "UTF-16 text of no log that is known", "Save it in the format of its tool."),
)
"""In the order in which they are tried."""


def known_file(head: bytes) -> KnownFile | None:
    """Return the kind of a file that starts with `head`, `None` for one that is not known."""
    return next((k for k in KNOWN_FILES if head[k.offset : k.offset + len(k.mark)] == k.mark), None)
