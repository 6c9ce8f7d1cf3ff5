"""The sensor for loggers without manifests and its job, in Dagster, from the logger's files to the taken batch."""

from datetime import timedelta

import dagster as dg
import pytest

from argus_assets.definitions import build_defs
from argus_assets.drop.bucket import Bucket
from argus_assets.errors import BadSetting
from argus_assets.sensors.idle_sessions import build_quiet_prefixes
from argus_assets.settings import Settings

LOGGERS = '[device.2F6913DB]\nvehicle_id = "truck-1"\nvin = "1M8GDM9AXKP042788"\nplatform = "truck"\nrelease = "1"\n'


def test_a_session_becomes_a_batch(site, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    loggers = tmp_path / "loggers.toml"
    loggers.write_text(LOGGERS)
    sensor, job = build_quiet_prefixes("loggers", loggers, quiet=timedelta(minutes=30))
    site.bucket.put("loggers/2F6913DB/00000012/00000001-6A9D9080.MF4", b"not really one")
    now = Bucket.now
    monkeypatch.setattr(Bucket, "now", lambda self: now(self) + timedelta(hours=1))

    def look() -> dg.SensorResult:
        context = dg.build_sensor_context(instance=site.instance, resources={"bucket": site.resources["bucket"]})
        return sensor(context)

    (request,) = look().run_requests
    result = job.execute_in_process(
        instance=site.instance, resources={"bucket": site.resources["bucket"]}, run_config=request.run_config
    )
    assert result.success
    assert not look().run_requests
    (taken,) = site.tick().run_requests
    assert taken.partition_key.endswith("_truck-1_2F6913DB-00000012")

    site.bucket.put("loggers/2F6913DB/00000013/00000001-6A9D9080.MF4", b"x")
    assert look().run_requests
    site.instance.add_run(dg.DagsterRun(job_name=job.name, status=dg.DagsterRunStatus.STARTED))
    assert not look().run_requests, "one run at a time"


def test_the_sensor_is_there_where_loggers_are(tmp_path) -> None:
    home = {"ARGUS_HOME": str(tmp_path)}
    names = {s.name for s in build_defs(Settings.from_env(home)).sensors}
    assert "stale_uploads_sensor" in names
    assert "quiet_prefixes_sensor" not in names
    with pytest.raises(BadSetting, match="ARGUS_QUIET_LOGGERS"):
        build_defs(Settings.from_env({**home, "ARGUS_QUIET_PREFIX": "loggers"}))
    loggers = {"ARGUS_QUIET_PREFIX": "loggers", "ARGUS_QUIET_LOGGERS": str(tmp_path / "l.toml")}
    assert "quiet_prefixes_sensor" in {s.name for s in build_defs(Settings.from_env({**home, **loggers})).sensors}
