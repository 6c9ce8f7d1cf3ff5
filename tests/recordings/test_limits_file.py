"""The limits that an operator may set, and that docs name each of them."""

from dataclasses import fields
from pathlib import Path

import pytest

from argus_assets.errors import BadSetting
from argus_assets.recordings.limits_file import read_limits
from argus_assets.recordings.model import DEFAULT_LIMITS, Limits

GUIDE = Path(__file__).parents[2] / "docs" / "recordings.md"
SETTABLE = [f.name for f in fields(Limits) if f.name not in ("workers", "batch_frames")]


def written(folder: Path, text: str) -> Path:
    path = folder / "limits.toml"
    path.write_text(text)
    return path


def test_without_a_file_and_with_an_empty_one_the_defaults_are_in_force(tmp_path: Path) -> None:
    assert read_limits(None) == DEFAULT_LIMITS
    assert read_limits(written(tmp_path, "")) == DEFAULT_LIMITS


def test_what_a_file_names_is_set_and_the_rest_stays(tmp_path: Path) -> None:
    read = read_limits(written(tmp_path, "[recording]\nmax_topics = 7\nmax_total_ratio = 2.5\n"))
    changed = {f.name for f in fields(Limits) if getattr(read, f.name) != getattr(DEFAULT_LIMITS, f.name)}
    assert changed == {"max_topics", "max_total_ratio"}
    assert (read.max_topics, read.max_total_ratio) == (7, 2.5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[recording]\nmax_topic = 7\n", "max_topic"),
        ("[recording]\nmax_topics = 0\n", "max_topics"),
        ("[recording]\nmax_topics = -1\n", "max_topics"),
        ("[recording]\nmax_topics = 'many'\n", "max_topics"),
        ("[recording]\nworkers = 3\n", "workers"),
        ("[limits]\n", "limits"),
        ("[recording", "TOML"),
    ],
)
def test_what_cannot_be_used_is_told_by_name(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadSetting, match=told):
        read_limits(written(tmp_path, text))


def test_the_guide_names_every_limit() -> None:
    section = GUIDE.read_text().partition("## What a recording may cost")[2].partition("\n## ")[0]
    assert [name for name in SETTABLE if f"`{name}`" not in section] == []
