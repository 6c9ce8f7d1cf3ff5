"""What software logs below ERROR, and what it publishes until when."""

import itertools
from collections.abc import Sequence

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.recordings.drive import Drive
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS
from argus_assets.stats.remarks import MAX_ROWS, MAX_TEXT, remarks
from argus_assets.stats.schema import REMARKS, TOPIC_STATS
from argus_assets.stats.topics import topic_stats

S = 10**9
START = 1_790_000_000 * S


def drive(entries: Sequence[tuple[float, int, str, str]] = (), messages: Sequence[tuple[float, str]] = ()) -> Drive:
    recording = pl.lit("r").alias("recording")
    logs = pl.DataFrame(
        [
            {
                "frame": n, "timestamp": START + round(at * S), "channel": "/rosout", "level": level, "name": name,
                "message": text, "file": "", "line": 0,
            }
            for n, (at, level, name, text) in enumerate(entries)
        ],
        schema={**LOGS.schema, "timestamp": pl.Int64(), "channel": pl.String()},
    )  # fmt: skip
    frames = pl.DataFrame(
        [
            {"frame": n, "timestamp": START + round(at * S), "channel": topic, "kind": "message", "payload": b""}
            for n, (at, topic) in enumerate(messages)
        ],
        schema={**FRAMES.schema, "timestamp": pl.Int64(), "channel": pl.String()},
    )
    return Drive(
        FRAMES.cast(frames).lazy().with_columns(recording),
        LOGS.cast(logs).lazy().with_columns(recording),
        DIAGNOSTICS.empty().lazy().with_columns(recording),
        {},
    )


def test_warnings_and_words_of_trouble_are_kept_errors_and_talk_are_not() -> None:
    made = REMARKS.check(
        remarks(
            drive(
                [
                    (1, 20, "a", "ready"),
                    (2, 30, "kernel", "Under-voltage detected! (0x00050005)"),
                    (3, 20, "camera", "Device USB type: 2.1"),
                    (4, 40, "a", "failed"),
                    (5, 10, "a", "failed to be interesting"),
                    (6, 30, "kernel", "Under-voltage detected! (0x00050007)"),
                    (9, 20, "rclcpp", "signal_handler(signum=2)"),
                ]
            )
        )
    )
    assert made.select("name", "level", "entries").rows() == [("rclcpp", 20, 1), ("kernel", 30, 2), ("camera", 20, 1)]
    assert made["message"][1] == "Under-voltage detected! (0x00050005)"
    assert (made["last_seen"] - made["first_seen"]).dt.total_seconds().to_list() == [0, 4, 0]


def test_starts_and_stops_stay_however_many_warnings_there_are() -> None:
    words = ["".join(letters) for letters in itertools.product("abcdefghij", repeat=3)][: MAX_ROWS + 50]
    many = [(1.0 + n / 1000, 30, "a", f"{word} {'x' * MAX_TEXT}") for n, word in enumerate(words)]
    made = remarks(drive([*many, (50, 20, "launch", "user interrupted with ctrl-c (SIGINT)")]))
    assert made.height == MAX_ROWS
    assert "launch" in made["name"]
    assert made["message"].str.len_chars().max() == MAX_TEXT


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(["/a", "/b", "/c"])), max_size=60))
def test_topics_are_counted_with_their_longest_pause(messages: list[tuple[int, str]]) -> None:
    made = TOPIC_STATS.check(topic_stats(drive(messages=[(at / 1000, topic) for at, topic in messages])))
    for row in made.iter_rows(named=True):
        times = sorted(at for at, topic in messages if topic == row["topic"])
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert row["messages"] == len(times)
        assert round(row["first_seen"].timestamp() * 1000) - START // 10**6 == times[0]
        assert round(row["last_seen"].timestamp() * 1000) - START // 10**6 == times[-1]
        if gaps:
            assert round(row["longest_pause_s"] * 1000) == max(gaps)
            began = round(row["pause_began"].timestamp() * 1000) - START // 10**6
            assert began + max(gaps) in times
        else:
            assert row["period_s"] is None
    assert made["topic"].to_list() == sorted({topic for _, topic in messages})
