"""With ARGUS_LOG_FORMAT=json all that a run and a sensor log is one JSON object a line."""

import json
import logging
import sys

import pytest

from argus_assets.monitoring.logs import JsonFormatter, configure, fields
from argus_assets.pipeline import STAGES

pytestmark = pytest.mark.wiring


@pytest.fixture
def json_logs():
    before, root = logging.getLoggerClass(), logging.getLogger()
    handlers = {h: h.formatter for name in ("", "dagster") for h in logging.getLogger(name).handlers}
    kept = list(root.handlers)
    configure("json")
    yield
    logging.setLoggerClass(before)
    root.handlers[:] = kept
    for handler, formatter in handlers.items():
        handler.setFormatter(formatter)


def test_a_run_logs_objects_with_run_batch_and_stage(site, drives, json_logs, capfd):
    for number in range(2):
        site.drop(drives["car_healthy"], batch_id=f"b{number}")
    (request,) = site.tick().run_requests
    spoilt = site.bucket.list_prefix("batches/car-healthy/b1/")[0]
    site.bucket.put(spoilt.key, b"x" * spoilt.size)
    capfd.readouterr()
    run = site.run(request)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert lines
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert {line["run_id"] for line in lines} == {run.run_id}
    good, bad = (f"2026-11-18_car-healthy_b{n}" for n in range(2))
    assert {line["stage"] for line in lines if line.get("batch") == good and "stage" in line} == set(STAGES)
    assert {line["stage"] for line in lines if line.get("batch") == bad and "stage" in line} == {"rec_frames"}
    (error,) = [line for line in lines if line["level"] == "error" and line.get("batch") == bad]
    assert "wrong_sha256" in error["message"]
    events = [line for line in lines if line.get("asset") == "batch_report" and "event" in line]
    assert {line["event"] for line in events} >= {"ASSET_MATERIALIZATION"}
    assert {line["batch"] for line in events if line["event"] == "ASSET_MATERIALIZATION"} == {good}


def test_a_sensor_logs_objects(json_logs, capfd):
    from dagster._core.definitions.instigation_logger import InstigationLogger

    log = InstigationLogger(repository_name="__repository__", instigator_name="some_sensor")
    log.warning("two\nlines")
    (line,) = map(json.loads, capfd.readouterr().err.splitlines())
    assert (line["message"], line["sensor"], line["level"]) == ("two\nlines", "some_sensor", "warning")


def test_a_traceback_is_one_field_and_fields_end_with_their_block():
    formatter = JsonFormatter()
    try:
        {}["x\ny"]
    except KeyError:
        record = logging.LogRecord("a.b", logging.ERROR, __file__, 1, "broke: %s", ("é\n",), sys.exc_info())
    with fields(batch="k", run_id="r") as shown:
        shown["stage"] = "diagnosis"
        inside = json.loads(formatter.format(record))
    assert "\n" not in formatter.format(record)
    assert (inside["batch"], inside["stage"], inside["message"]) == ("k", "diagnosis", "broke: é\n")
    assert "KeyError" in inside["error"]
    assert "batch" not in json.loads(formatter.format(record))
