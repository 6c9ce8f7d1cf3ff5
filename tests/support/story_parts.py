"""Which parts of a story are missing from the events that were found in its drive."""

import re

import polars as pl

from evals.story import Story

_OBD = {"03": ("obd_mode03", "confirmed"), "07": ("obd_mode07", "pending"), "0A": ("obd_mode0a", "permanent")}
_SHORTEST_SILENCE_S = 6.0
_HIDDEN = 0x50
"""Status bits of UDS that only say that a test has not run: such a code is no finding."""


def missing_parts(story: Story, events: pl.DataFrame, started) -> list[str]:
    """Return a line for each part that no event shows."""
    rows = events.with_columns(at=(pl.col("first_seen") - started).dt.total_milliseconds() / 1000).to_dicts()
    quiet = [(s.unit, s.at, s.until if s.until is not None else story.seconds) for s in story.silence]
    quiet += [(p.unit, p.at, p.at + p.seconds + 2.5) for p in story.programming]
    dead = [(e.at, e.until or story.seconds) for e in story.bus_errors if e.bus_off]

    def is_heard(unit: int, at: float) -> bool:
        return not any(u == unit and low - 1 <= at <= high + 1 for u, low, high in quiet) and not any(
            low - 1 <= at <= high + 1 for low, high in dead
        )

    def shown(**wanted) -> bool:
        near = wanted.pop("near", None)
        return any(
            all(re.fullmatch(str(value), str(row[key] or "")) for key, value in wanted.items())
            and (near is None or near[0] <= row["at"] <= near[1])
            for row in rows
        )

    missing: list[str] = []
    for t in story.trouble:
        ecu, code = f"SA 0x{t.unit:02X}", f"SPN{t.spn}/FMI{t.fmi}"
        if t.previous:
            ok = shown(code=code, ecu=ecu, status="previously_active")
        else:
            ok = shown(code=code, ecu=ecu, source="j1939_dm1", near=(max(0, t.at - 0.1), t.at + 2.5))
        if not ok and is_heard(t.unit, t.at):
            missing.append(f"{code} of {ecu} at {t.at:g}")
    for r in story.read:
        ecu = f"0x{r.unit:X}"
        if not is_heard(r.unit, r.at):
            continue
        for code in r.codes:
            if r.service != "19":
                source, status = _OBD[r.service]
                ok = shown(code=code, ecu=ecu, source=source, status=status)
            else:
                plain, state = code.split(":")
                ok = shown(code=re.escape(plain), ecu=ecu, source="uds_dtc") or not int(state, 16) & ~_HIDDEN
            if not ok:
                missing.append(f"{code} of {ecu} by {r.service} at {r.at:g}")
        if r.mil and not shown(code="OBD_MIL", ecu=ecu):
            missing.append(f"lamp of {ecu} at {r.at:g}")
    for c in story.clear:
        code = {"obd": "OBD_CLEAR", "uds": "UDS_CLEAR", "dm11": "J1939_CLEAR"}[c.by]
        if c.refused and c.by != "dm11":
            code = "OBD_NRC_04_22" if c.by == "obd" else "UDS_NRC_14_22"
        if not shown(code=code, near=(c.at - 0.5, c.at + 2)) and is_heard(c.unit, c.at):
            missing.append(f"{code} at {c.at:g}")
    for f in story.refusal:
        code = f"{'OBD' if f.service <= 0x0A else 'UDS'}_NRC_{f.service:02X}_{f.reason:02X}"
        if not shown(code=code) and is_heard(f.unit, f.at) and f.reason != 0x78:
            missing.append(code)
    for s in story.silence:
        until = story.seconds if s.until is None else s.until
        if until - s.at >= _SHORTEST_SILENCE_S and not shown(code="CAN_SILENT", near=(s.at - 2, s.at + 12)):
            missing.append(f"silence of 0x{s.unit:X} at {s.at:g}")
    for e in story.bus_errors:
        code = "CAN_BUSOFF" if e.bus_off else "CAN_.*"
        if not shown(code=code, source="can_error", near=(e.at - 0.1, e.at + 3)):
            missing.append(f"{code} at {e.at:g}")
    missing += [
        f"log of {line.node} at {line.at:g}"
        for line in story.log
        if line.level in ("error", "fatal") and not shown(source="ros_log", ecu=re.escape(line.node))
    ]
    missing += [
        f"{d.name} at {d.at:g}"
        for d in story.diagnostic
        if d.level != "ok" and not shown(source="ros_diagnostic", near=(d.at - 1, d.at + 1.6))
    ]
    return missing
