"""All commands: in order, loaded only when they run, and each with one text of help."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import argus_assets.cli
from argus_assets.cli import root

COMMANDS = argus_assets.cli.COMMANDS


def test_commands_are_listed_in_order_each_in_a_module_of_its_name() -> None:
    assert list(COMMANDS) == sorted(COMMANDS)
    for name, place in COMMANDS.items():
        module, _, attribute = place.partition(":")
        assert module.rpartition(".")[2] == attribute == name.replace("-", "_")
        assert isinstance(getattr(import_module(module), attribute), click.Command)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(root, [name, "--help"])
    assert result.exit_code == 0
    first = result.output.split("\n\n")[1].strip()
    assert first, "a sentence that says what it does"


def test_a_command_is_loaded_when_it_runs_and_its_help_loads_nothing_heavy() -> None:
    """Everybody who types a command pays for what is imported at its top."""
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom argus_assets.cli import root\n"
        "loaded = lambda: {m for m in sys.modules if m.startswith('argus_assets.cli.')}\n"
        "assert not loaded(), loaded()\n"
        "CliRunner().invoke(root, ['status', '--help'])\n"
        "heavy = {'dagster', 'boto3', 'psycopg2', 'numpy', 'pyarrow', 'rich', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
