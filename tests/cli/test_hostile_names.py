# pyright: reportPrivateUsage=false
"""No command ends by what a vehicle named, and each prints it as it is."""

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

import argus_assets.cli
from argus_assets.cli import lifecycle, replay, rerun, root, status
from argus_assets.cli.output import terminal
from argus_assets.maintenance.replays import Difference
from argus_assets.maintenance.staleness import StaleBatch
from argus_assets.pipeline import BatchState
from argus_assets.stats.lifecycle import Episode, FaultLife
from argus_assets.status import BatchStatus, RecordingState, RecordingStatus

HOSTILE = ("[/x].log", "[red]a", "[link=http://evil.example]b[/link]", ":bug:", "\x1b[31mc\x07", "\u202ed")
SHOWN = ("[/x].log", "[red]a", "[link=http://evil.example]b[/link]", ":bug:", "c", "d")


@pytest.fixture(params=list(zip(HOSTILE, SHOWN, strict=True)), ids=range(len(HOSTILE)))
def names(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A name, and what a terminal shows of it that is wide enough."""
    monkeypatch.setenv("COLUMNS", "400")
    return request.param


def _printed(capsys: pytest.CaptureFixture[str], shown: str) -> None:
    out = capsys.readouterr().out
    assert shown in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


@pytest.mark.parametrize("command", ["info", "events"])
def test_rec_shows_a_files_name_as_it_is(names: tuple[str, str], command: str, tmp_path: Path) -> None:
    """The file's name and its channel's, on both outputs."""
    name, shown = names
    file = tmp_path / name.replace("/", "\u2044")
    file.write_text(f"(1700000000.0) {name.replace(' ', '')} 18FECA00#04FF640002010000\nnot a line\n")
    result = CliRunner().invoke(root, ["rec", command, str(file)], env={"COLUMNS": "300"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    told = result.output.replace("\u2044", "/")
    if command == "info":
        assert shown in told
    assert not {"\x1b", "\x07", "\u202e"} & set(told)


def test_status_shows_names_as_they_are(names: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of a batch, its recordings and why it failed."""
    name, shown = names
    recording = RecordingStatus(recording=name, state=RecordingState.PARSED, format=name)
    batch = BatchStatus("v", name, BatchState.FAILED, failed_stage=name, reason=name, recordings=(recording,))
    terminal(width=300).print(status.render([batch], detailed=True))
    _printed(capsys, shown)


def test_lifecycle_shows_names_as_they_are(names: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of a fault, its ECU and the release it came with."""
    name, shown = names
    at = datetime(2026, 1, 1, tzinfo=UTC)
    episode = Episode.model_construct(
        first_drive=name, last_drive=name, drives=1, release=name, cleared_in=None, cleared_by=None
    )
    life = FaultLife.model_construct(
        code=name, ecu=name, state="new", severity="error", first_seen=at, last_seen=at, first_release=name,
        drives_affected=1, drives=1, occurrences=1, counting_since=0, episodes=(episode,), marks=("affected",),
    )  # fmt: skip
    lifecycle.show(terminal(width=300), [life], episodes=True)
    _printed(capsys, shown)


def test_replay_and_rerun_show_names_as_they_are(names: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of batches, codes, and reasons."""
    name, shown = names
    difference = Difference("code_new", name, name, name)
    replay.show({name: [difference], "b": [difference]}, {name: name}, 0)
    _printed(capsys, shown)
    rerun.show([name], [name], {name: StaleBatch(name, "rec_frames", name)}, None)
    _printed(capsys, shown)


def test_no_command_prints_by_a_console_of_its_own() -> None:
    """A console of Rich takes markup unless it is told not to; `cli.output` tells it. Nor does one write markup."""
    folder = Path(argus_assets.cli.__file__).parent
    for file in set(folder.glob("*.py")) - {folder / "output.py"}:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"Console", "print", "Text.from_markup", "click.secho"}, (file.name, node.lineno)
                if called == "click.echo":
                    assert ast.unparse(node.args[0]).startswith("generate_latest("), (file.name, node.lineno)
