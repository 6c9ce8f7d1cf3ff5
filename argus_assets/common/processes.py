"""Processes of this machine, as `/proc` shows them."""

from pathlib import Path


def has_ended(pid: int) -> bool:
    """Return true for a process that is gone, or waits to be reaped; false where there is no `/proc`."""
    if not Path("/proc/self/stat").exists():
        return False
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # the second one when it ends between open and read
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"
