"""Draw the causal timeline: a lane per fault over the drive, in order of first appearance. Inline SVG."""

import io
import re
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from argus_assets.common.texts import html, one_line
from argus_assets.diagnosis.redaction import redact
from argus_assets.stats.errors import top
from argus_assets.stats.ranking import SAME_MOMENT_NS
from argus_assets.stats.schema import HISTOGRAM_BINS

LANES: Final = 10
_NAME_CHARACTERS: Final = 28
_NAME_SIZE: Final = 9
_WIDTH_INCHES: Final = 9
MAX_BARS: Final = 200
"""A lane with more activations shows which share of each part of the drive they filled: bars would merge."""

MAX_ALL_BARS: Final = 1000
"""Limit for all lanes together: a bar takes 150 bytes of the page."""

_SPEED_INCHES: Final = 0.95
_MAX_ARROWS: Final = 6
_SAME_MOMENT_S: Final = SAME_MOMENT_NS / 1e9
_LAMPS: Final = ("red stop", "malfunction", "amber", "protect")
"""Most pressing first."""

_ONE_AT_A_TIME: Final = threading.Lock()
"""matplotlib has settings and fonts per process, not per thread."""

_STYLE: Final = {
    "critical": ("#a50f15", "xxx"),
    "error": ("#de6a10", "///"),
    "warning": ("#c9a400", "..."),
    "info": ("#5b7fa6", ""),
}
"""Colour and hatch by severity: the hatch distinguishes them in print and without colour."""


def timeline_svg(
    events: pl.DataFrame,
    stats: pl.DataFrame,
    *,
    drive_from_ns: int,
    drive_to_ns: int,
    speed: pl.DataFrame | None = None,
    explained: Sequence[int] = (),
) -> str:
    """Plot when each of the most important faults was active, which lamps were on, and how fast the vehicle went.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        stats: `stats.schema.ERROR_STATS`; its top `LANES` troubles get a lane.
        drive_from_ns: First frame of the drive.
        drive_to_ns: Last frame of the drive.
        speed: `stats.schema.SPEED`; a curve above the lanes, if there is any.
        explained: Ranks of the faults that the first root cause explains: arrows lead from the first of them to those
            that followed.

    Returns:
        An `<svg>` element; empty without faults. It is deterministic.
    """
    if stats.is_empty():
        return ""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    lanes = top(stats, LANES).sort("first_seen", "rank")
    many = lanes["occurrences"].clip(upper_bound=MAX_BARS).sum() > MAX_ALL_BARS
    max_bars = MAX_ALL_BARS // LANES if many else MAX_BARS
    lamps = _lamps(events, drive_from_ns)
    with_speed = speed is not None and speed.height > 1
    drive_s = max((drive_to_ns - drive_from_ns) / 1e9, 1e-3)
    scale, unit = (60.0, "minutes") if drive_s > 180 else (1.0, "seconds")
    count = lanes.height + len(lamps)
    plot_height = 0.42 * count
    speed_height = _SPEED_INCHES if with_speed else 0.0
    height = 0.95 + plot_height + speed_height
    with (
        _ONE_AT_A_TIME,
        mpl.rc_context(
            # `$` in a name begins no formula.
            {
                "text.parse_math": False,
                "svg.hashsalt": "argus",
                "svg.fonttype": "none",
                "font.family": "sans-serif",
                "hatch.linewidth": 0.6,
            }
        ),
    ):
        figure = Figure(figsize=(_WIDTH_INCHES, height))
        FigureCanvasSVG(figure)
        names = [_lane_name(*row) for row in lanes.select("code", "ecu").iter_rows()]
        names += [f"lamp: {one_line(name)}" for name, _ in lamps]
        left = max(0.24, *(_name_width(name) for name in names))
        axes = figure.add_axes((left, 0.62 / height, 0.98 - left, plot_height / height))
        seen: set[str] = set()
        for lane, fault in enumerate(lanes.iter_rows(named=True)):
            if fault["occurrences"] > max_bars:
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
        for lane, (_, spans) in enumerate(lamps, lanes.height):
            bands = [(start / scale, max(seconds / scale, drive_s / scale * 0.004)) for start, seconds in spans]
            axes.broken_barh(bands, (lane - 0.14, 0.28), facecolors="#3d4650")
        if lamps:
            axes.axhline(lanes.height - 0.5, color="#9aa3ad", linewidth=0.6)
        _arrows(axes, lanes, explained, scale)
        axes.set_ylim(count - 0.4, -0.6)
        axes.set_xlim(0, drive_s / scale)
        axes.set_yticks(range(count), names)
        axes.set_xlabel(f"{unit} since the drive's first frame")
        axes.tick_params(length=0, labelsize=_NAME_SIZE)
        axes.grid(axis="x", color="#d8dce1", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        if speed is not None and with_speed:
            above = figure.add_axes(
                (left, (0.62 + plot_height + 0.1) / height, 0.98 - left, (speed_height - 0.2) / height), sharex=axes
            )
            times = (speed["timestamp"].dt.timestamp("ns") - drive_from_ns) / 1e9 / scale
            above.plot(times, speed["speed_kmh"], color="#3d4650", linewidth=1.0)
            above.set_ylim(bottom=0)
            above.set_ylabel("km/h", fontsize=8, rotation=0, ha="right", va="center")
            above.tick_params(length=0, labelsize=8, labelbottom=False)
            above.grid(color="#d8dce1", linewidth=0.6)
            for side in ("top", "right", "left"):
                above.spines[side].set_visible(False)
        legend = [
            Patch(facecolor=_STYLE[s][0], hatch=_STYLE[s][1], edgecolor="white", label=s) for s in _STYLE if s in seen
        ]
        figure.legend(
            handles=legend, loc="upper right", bbox_to_anchor=(0.985, 1.0), ncols=4, frameon=False, fontsize=8
        )
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Scales with the page, and says what it shows to those who can't see it.
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_spoken(lanes)}" ', 1)


def _lamps(events: pl.DataFrame, drive_from_ns: int) -> list[tuple[str, list[tuple[float, float]]]]:
    """Return each lamp with the (start, length) of the activations that lit it, in seconds of the drive, most pressing first."""
    spans: dict[str, list[tuple[float, float]]] = {}
    lit = events.filter(pl.col("lamp_status").is_not_null()).sort("first_seen")
    starts = (lit["first_seen"].dt.timestamp("ns") - drive_from_ns) / 1e9
    for start, seconds, text in zip(starts, lit["active_s"], lit["lamp_status"], strict=True):
        for lamp in text.split(", "):
            if lamp:
                spans.setdefault(lamp, []).append((start, seconds))
    return [(name, spans[name][:MAX_BARS]) for name in sorted(spans, key=_lamp_order)]


def _lamp_order(lamp: str) -> tuple[int, str]:
    return (next((n for n, word in enumerate(_LAMPS) if word in lamp), len(_LAMPS)), lamp)


def _arrows(axes: Any, lanes: pl.DataFrame, explained: Sequence[int], scale: float) -> None:  # noqa: ANN401 - matplotlib
    """Draw arrows from the first fault of the root cause to those that followed it."""
    explained_lanes = [
        (lane, row["seconds_into_drive"])
        for lane, row in enumerate(lanes.iter_rows(named=True))
        if row["rank"] in explained
    ]
    for lane, at in explained_lanes[1 : 1 + _MAX_ARROWS]:
        first_lane, first_at = explained_lanes[0]
        if at - first_at > _SAME_MOMENT_S:
            axes.annotate(
                "",
                xy=(at / scale, lane - 0.3),
                xytext=(first_at / scale, first_lane + 0.32),
                arrowprops={"arrowstyle": "->", "color": "#3d4650", "linewidth": 0.9, "shrinkA": 0, "shrinkB": 1},
            )


def _lane_name(code: str, ecu: str) -> str:
    """Fit code and ECU into the margin of the plot; the code has precedence."""
    code, ecu = _short(redact(code), _NAME_CHARACTERS - 6), redact(ecu)
    return f"{code}  {_short(ecu, min(16, _NAME_CHARACTERS - len(code)))}"


def _name_width(name: str) -> float:
    """Return the share of the picture that a lane's name and its space take, in the widest common font."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    points, _, _ = text_to_path.get_text_width_height_descent(name, FontProperties(size=_NAME_SIZE), ismath=False)
    return float((points + 8) / (72 * _WIDTH_INCHES))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _spoken(lanes: pl.DataFrame) -> str:
    first = ", then ".join(f"{c} at {s:.0f} seconds" for c, s in lanes.select("code", "seconds_into_drive").iter_rows())
    return str(html(f"Timeline of faults: {first}"))
