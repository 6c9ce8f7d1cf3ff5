"""The causal timeline: one lane per fault over the drive, in the order of first appearance. Inline SVG."""

import io
import re
from typing import Final

import numpy as np
import polars as pl

from argus_assets.stats.errors import top
from argus_assets.stats.schema import HISTOGRAM_BINS

LANES: Final = 10
_NAME_CHARACTERS: Final = 28
MAX_BARS: Final = 200
"""A lane of more activations shows how much of each part of the drive they filled: single bars could not be told apart."""

_STYLE: Final = {
    "critical": ("#a50f15", "xxx"),
    "error": ("#de6a10", "///"),
    "warning": ("#c9a400", "..."),
    "info": ("#5b7fa6", ""),
}
"""Colour and hatch by severity: the hatch tells them apart in print and without colour."""


def timeline_svg(events: pl.DataFrame, stats: pl.DataFrame, *, drive_from_ns: int, drive_to_ns: int) -> str:
    """Plot when each of the most important faults was active.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        stats: `stats.schema.ERROR_STATS`; its first `LANES` troubles get a lane.
        drive_from_ns: First frame of the drive.
        drive_to_ns: Last frame of the drive.

    Returns:
        An `<svg>` element; empty without faults. The same input gives the same text.
    """
    if stats.is_empty():
        return ""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    lanes = top(stats, LANES).sort("first_seen", "rank")
    drive_s = max((drive_to_ns - drive_from_ns) / 1e9, 1e-3)
    scale, unit = (60.0, "minutes") if drive_s > 180 else (1.0, "seconds")
    height = 0.9 + 0.42 * lanes.height
    with mpl.rc_context(
        {"svg.hashsalt": "argus", "svg.fonttype": "none", "font.family": "sans-serif", "hatch.linewidth": 0.6}
    ):
        figure = Figure(figsize=(9, height))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.24, 0.62 / height, 0.74, 1 - 0.95 / height))
        seen: set[str] = set()
        for lane, fault in enumerate(lanes.iter_rows(named=True)):
            if fault["occurrences"] > MAX_BARS:
                seen.add(fault["severity"])
                width = drive_s / scale / HISTOGRAM_BINS
                share = np.array(fault["active_s_by_bin"]) / (drive_s / HISTOGRAM_BINS)
                filled = np.flatnonzero((share > 0) | (np.array(fault["occurrences_by_bin"]) > 0))
                # A moment has no length: it still has to be seen.
                height_of = 0.15 + 0.45 * np.minimum(share[filled], 1.0)
                axes.bar(
                    filled * width, height_of, width, bottom=lane + 0.3 - height_of, align="edge",
                    color=_STYLE[fault["severity"]][0],
                )  # fmt: skip
                continue
            mine = events.filter(
                (pl.col("code") == fault["code"])
                & (pl.col("ecu") == fault["ecu"])
                & (pl.col("source").cast(pl.String) == fault["source"])
            )
            starts = (mine["first_seen"].dt.timestamp("ns") - drive_from_ns) / 1e9 / scale
            for start, seconds, severity in zip(starts, mine["active_s"], mine["severity"], strict=True):
                seen.add(severity)
                colour, hatch = _STYLE[severity]
                # An activation of one report has no length: it still has to be seen.
                width = max(seconds / scale, drive_s / scale * 0.004)
                axes.barh(
                    lane, width, left=start, height=0.6, color=colour, hatch=hatch, edgecolor="white", linewidth=0.3
                )
        axes.set_ylim(lanes.height - 0.4, -0.6)
        axes.set_xlim(0, drive_s / scale)
        axes.set_yticks(range(lanes.height), [_lane_name(*row) for row in lanes.select("code", "ecu").iter_rows()])
        axes.set_xlabel(f"{unit} since the drive's first frame")
        axes.tick_params(length=0, labelsize=9)
        axes.grid(axis="x", color="#d8dce1", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        legend = [
            Patch(facecolor=_STYLE[s][0], hatch=_STYLE[s][1], edgecolor="white", label=s) for s in _STYLE if s in seen
        ]
        axes.legend(handles=legend, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, fontsize=8)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Scales with the page, and says what it shows to those who can't see it.
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_spoken(lanes)}" ', 1)


def _lane_name(code: str, ecu: str) -> str:
    """Code and ECU in the room that is left of the plot; the code goes before."""
    code = _short(code, _NAME_CHARACTERS - 6)
    return f"{code}  {_short(ecu, min(16, _NAME_CHARACTERS - len(code)))}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _spoken(lanes: pl.DataFrame) -> str:
    from html import escape

    first = ", then ".join(f"{c} at {s:.0f} seconds" for c, s in lanes.select("code", "seconds_into_drive").iter_rows())
    return escape(f"Timeline of faults: {first}", quote=True)
