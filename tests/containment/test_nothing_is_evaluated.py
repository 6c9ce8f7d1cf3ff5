"""Nothing of a recording is evaluated: no code, no process, no import, no connection comes of reading one."""

import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from fuzz.damage import corpus
from fuzz.seeds import seeds
from tests.support import hostile_recordings as hostile
from tests.support.audited import WATCHED
from tests.support.hostile_recordings import HOSTILE, SMALL
from tests.support.planted import DEEDS, MARK

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "deploy/requirements.lock")
EVALUATORS = {
    "numexpr", "sympy", "mpmath", "pandas", "asteval", "simpleeval", "evalidate", "numba", "dill", "cloudpickle", "jsonpickle", "joblib",
    "theano", "pytensor", "formulaic", "patsy", "restrictedpython", "jax", "torch",
}  # fmt: skip
"""Packages that evaluate texts, or unpickle."""

SECONDS = 280
"""For one set of recordings; it is there so that one that never ends is named."""


@dataclass
class Audit:
    """What was refused while a set of recordings was read."""

    refused: list[dict[str, Any]] = field(default_factory=list)
    raised: list[dict[str, Any]] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)


def audit(honest: Path, folder: Path, *more: str) -> Audit:
    """Read a folder of recordings in a process of its own, whose working folder is empty."""
    work = folder.parent / f"{folder.name}-work"
    work.mkdir()
    command = [sys.executable, "-m", "tests.support.audited", str(honest), str(folder), *more]
    path = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, cwd=work, env=path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
        errors = f"not done after {SECONDS} s"
    found = Audit()
    begun = "nothing"
    for line in out.splitlines():
        told = json.loads(line)
        begun = told.get("begun", begun)
        if "event" in told:
            found.refused.append(told)
        elif "raised" in told:
            found.raised.append(told)
        elif "read" in told:
            found.last = told
    assert found.last, f"ended while {begun} was read: {errors[-2000:]}"
    assert not list(work.iterdir()), "something was written beside the tables"
    return found


def write(folder: Path, recordings: Iterable[tuple[str, bytes]]) -> Path:
    """A folder of these recordings."""
    folder.mkdir()
    for name, data in recordings:
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of whole recordings of all formats: reading them imports whatever reading needs."""
    return write(tmp_path_factory.mktemp("honest") / "seeds", [*seeds().items(), ("mcap-typed", _typed())])


def _typed() -> bytes:
    """Topics in every encoding of messages and schemas, with lists and texts, and a log entry in JSON."""
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", package="p", syntax="proto3")
    file.message_type.add(name="I").field.add(name="v", number=1, type=5, label=1)
    made = file.message_type.add(name="A")
    made.field.add(name="i", number=1, type=11, label=3, type_name=".p.I")
    made.field.add(name="s", number=2, type=9, label=1)
    of_protobuf = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    of_json = json.dumps(
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"type": "number"}}, "message": {"type": "string"}},
        }
    )
    schemas = [
        hostile.schema(1, "p/msg/T", "ros2msg", "float64[] a\nstring[] s\nI[2] i\n===\nMSG: p/I\nint8 v"),
        hostile.schema(2, "p.A", "protobuf", of_protobuf),
        hostile.schema(3, "T", "jsonschema", of_json),
        hostile.schema(4, "foxglove.Log", "jsonschema", of_json),
        hostile.schema(5, "diagnostic_msgs/msg/DiagnosticArray", "jsonschema", "{}"),
    ]
    encodings = ("cdr", "protobuf", "json", "json", "json")
    channels = [hostile.channel(i, i, f"/t{i}", encoding) for i, encoding in enumerate(encodings, 1)]
    data = (
        hostile.CDR + struct.pack("<IId", 1, 0, 1.5) + struct.pack("<II", 1, 2) + b"a\0" + b"\1\2", b"\x0a\x02\x08\x05\x12\x01x", b'{"a":[1.5]}',
        b'{"level":4,"message":"m"}', b'{"status":[{"level":2,"name":"a","values":[{"key":"k","value":"v"}]}]}',
    )  # fmt: skip
    return hostile.mcap(
        *schemas, *channels, hostile.chunk(b"".join(hostile.message(i, raw) for i, raw in enumerate(data, 1)))
    )


def attacks(start: str) -> Iterator[tuple[str, bytes]]:
    """Small attacks whose name starts so."""
    return ((a.file, a.make(SMALL)) for a in HOSTILE.values() if a.name.startswith(start))


def test_reading_whole_recordings_does_nothing_but_reading(honest: Path) -> None:
    found = audit(honest, honest)
    assert (found.refused, found.raised) == ([], [])


def test_reading_damaged_recordings_does_nothing_but_reading(honest: Path, tmp_path: Path) -> None:
    damaged = write(tmp_path / "damaged", ((f"{name}-{what}", data) for name, what, data in corpus()))
    found = audit(honest, damaged)
    assert (found.refused, found.raised) == ([], [])


@pytest.mark.parametrize("format", sorted({name.partition("_")[0] for name in HOSTILE}))
def test_reading_hostile_recordings_does_nothing_but_reading(format: str, honest: Path, tmp_path: Path) -> None:  # noqa: A002
    found = audit(honest, write(tmp_path / "attacks", attacks(format)))
    assert (found.refused, found.raised) == ([], [])


@pytest.mark.parametrize("lock", LOCKS)
def test_no_formula_reaches_an_evaluator_of_what_a_lock_installs(lock: str, honest: Path, tmp_path: Path) -> None:
    """With each lock another package would be asked: the one without sympy has numexpr still."""
    found = audit(honest, write(tmp_path / "formulas", attacks("mdf_formula")), "--lock", str(ROOT / lock))
    assert found.refused == []
    assert found.last["evaluators"], "no evaluator is watched: the test shows nothing"


@pytest.mark.parametrize("lock", LOCKS)
def test_each_evaluator_of_a_lock_is_watched(lock: str) -> None:
    """A package that evaluates texts and comes into a lock needs a look at who gives it any."""
    installed = {match[1].lower() for match in re.finditer(r"(?m)^([A-Za-z0-9_.-]+)==", (ROOT / lock).read_text())}
    assert "numpy" in installed, "the lock was not understood"
    assert installed & EVALUATORS <= set(WATCHED)


@pytest.fixture(scope="module")
def planted(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """What is seen of a decoder that does everything that it must not."""
    folder = write(tmp_path_factory.mktemp("planted") / "planted", ((deed, MARK + deed.encode()) for deed in DEEDS))
    return audit(honest, folder, "--planted")


@pytest.mark.parametrize("deed", sorted(DEEDS))
def test_a_decoder_that_did_it_would_be_seen(deed: str, planted: Audit) -> None:
    event, _ = DEEDS[deed]
    assert event in {told["event"] for told in planted.refused if told["reading"] == deed}
    assert deed in {told["raised"] for told in planted.raised}
