"""What the event log holds is spelled in event_log/ and in the classes of its events, and nowhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import argus_assets
from argus_assets.event_log.events import CODE_VERSION, DATA_VERSION, DIGEST, EVENT_KEY, MADE_WITH
from argus_assets.events import NAMED

PACKAGE = Path(argus_assets.__file__).parent
OWNERS = ("event_log/", "events.py")
PUBLIC = "notifications/events.py"
"""Names of the events that other systems get, some of which are those of the log."""

KEYS = {EVENT_KEY, DIGEST, MADE_WITH, DATA_VERSION, CODE_VERSION}
SQL = re.compile(
    r"\b(FROM|JOIN|INTO|UPDATE)\s+(event_logs|asset_event_tags|asset_check_executions|asset_keys|dynamic_partitions|runs|"
    r"run_tags)\b|\bLIKE\s+'%"
)
READS = {"fetch_materializations", "fetch_observations", "get_event_records", "get_records_for_run"}
"""Dagster's own questions to the log. Its storage itself is patched in dagster_instance/, which asks nothing."""


def elsewhere() -> Iterator[tuple[str, ast.AST]]:
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(OWNERS):
            for node in ast.walk(ast.parse(path.read_text())):
                yield name, node


def texts() -> Iterator[tuple[str, str]]:
    for name, node in elsewhere():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield name, node.value


def test_no_event_is_named_elsewhere() -> None:
    assert {(name, text) for name, text in texts() if text in NAMED and name != PUBLIC} == set()


def test_no_key_of_its_metadata_and_no_tag_is_spelled_elsewhere() -> None:
    assert {(name, text) for name, text in texts() if text in KEYS} == set()


def test_no_table_of_dagster_is_read_in_sql_elsewhere() -> None:
    assert {(name, text) for name, text in texts() if SQL.search(text)} == set()


def test_dagster_is_asked_for_events_nowhere_else() -> None:
    found = {(name, node.attr) for name, node in elsewhere() if isinstance(node, ast.Attribute)}
    assert {(name, attribute) for name, attribute in found if attribute in READS} == set()
    storage = {name for name, attribute in found if attribute == "event_log_storage"}
    assert storage <= {"dagster_instance/storage.py"}


def test_the_rules_find_what_they_are_for() -> None:
    assert SQL.search("SELECT id FROM event_logs")
    assert SQL.search("""event NOT LIKE '%"BatchQuarantined"%'""")
    assert not SQL.search("SELECT id FROM argus.outbox")
