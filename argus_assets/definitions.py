"""The definitions that Dagster loads. The only module that reads the environment at import: Dagster offers no other hook."""

import os
from collections.abc import Mapping
from datetime import timedelta

import dagster as dg

from argus_assets.assets.batch_assets import batch_assets
from argus_assets.assets.specs import vehicle_drop
from argus_assets.errors import BadSetting
from argus_assets.jobs import batch_job, rediagnose_job
from argus_assets.monitoring.logs import configure as configure_logs
from argus_assets.notifications.alerts import read_alerts
from argus_assets.notifications.endpoints import parse_endpoints
from argus_assets.resources.bucket import BucketResource
from argus_assets.resources.capacity import CapacityResource
from argus_assets.resources.database import DatabaseResource
from argus_assets.resources.decoders import DecodersResource
from argus_assets.resources.diagnosis import DiagnosisResource
from argus_assets.resources.faults import FaultsResource
from argus_assets.resources.lake import LakeResource
from argus_assets.resources.webhooks import WebhooksResource
from argus_assets.schedules.reconcile_bucket import build_reconcile_job, build_reconcile_schedule
from argus_assets.schedules.rediagnose_degraded import build_rediagnose_schedule
from argus_assets.schedules.rerun_failed_batches import build_rerun_failed_schedule
from argus_assets.schedules.retain import build_retain_job, build_retain_schedule, policy_of
from argus_assets.sensors.completed_batches import build_completed_batches_sensor
from argus_assets.sensors.crashed_runs import lost_outcomes_sensor
from argus_assets.sensors.idle_sessions import build_quiet_prefixes
from argus_assets.sensors.outcome_events import deliver_webhooks_sensor, outcome_events_sensor
from argus_assets.sensors.rerun_requests import build_rerun_requests_sensor
from argus_assets.sensors.stale_uploads import build_stale_uploads_sensor
from argus_assets.settings import Settings


def build_defs(settings: Settings, *, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Return all definitions.

    Args:
        settings: What the environment says.
        resources: Replace resources by name (`bucket`, `lake`, `decoders`, `faults`, `database`, `diagnostician`, `capacity`).
    """
    configure_logs(settings.log_format)
    reconcile_job = build_reconcile_job(retain=timedelta(days=settings.retention.days))
    retain_job = build_retain_job(policy_of(settings))
    quiet_sensors, quiet_jobs = _quiet_prefixes(settings)
    webhook_sensors, webhook_resources = _webhooks(settings)
    return dg.Definitions(
        assets=[vehicle_drop, batch_assets],
        jobs=[batch_job, rediagnose_job, reconcile_job, retain_job, *quiet_jobs],
        schedules=[
            build_rediagnose_schedule(rediagnose_job),
            build_reconcile_schedule(reconcile_job),
            build_rerun_failed_schedule(batch_job),
            build_retain_schedule(retain_job, max_batches=settings.retention.batches),
        ],
        sensors=[
            build_completed_batches_sensor(
                batch_job,
                interval_s=settings.sensor_interval_s,
                run_s=settings.run_seconds,
                max_batch_bytes=settings.max_batch_bytes,
            ),
            lost_outcomes_sensor,
            build_rerun_requests_sensor(batch_job),
            build_stale_uploads_sensor(quiet=timedelta(hours=settings.stale_upload_hours)),
            *quiet_sensors,
            *webhook_sensors,
        ],
        resources={
            "bucket": BucketResource(url=settings.bucket_url),
            "lake": LakeResource(url=settings.lake_url),
            "decoders": DecodersResource(
                path=str(settings.decoders) if settings.decoders else None,
                limits_path=str(settings.limits) if settings.limits else None,
            ),
            "faults": FaultsResource(path=str(settings.faults) if settings.faults else None),
            "database": DatabaseResource(url=dg.EnvVar("ARGUS_DATABASE_URL")),
            "diagnostician": _diagnostician(settings),
            "capacity": CapacityResource(
                memory_mb=settings.run_memory_mb,
                model_calls=settings.llm.concurrency if settings.llm.model is not None else 0,
            ),
            **webhook_resources,
            **(resources or {}),
        },
        # A process for each step would cost more than the work: a run has one.
        executor=dg.in_process_executor,
    )


def _quiet_prefixes(settings: Settings) -> tuple[list[dg.SensorDefinition], list[dg.JobDefinition]]:
    """Return what serves loggers that drop no manifests, if any are configured."""
    if settings.idle.prefix is None:
        return [], []
    if settings.idle.loggers is None:
        raise BadSetting("ARGUS_QUIET_PREFIX has no ARGUS_QUIET_LOGGERS.", help="Name the vehicle of each logger.")
    sensor, job = build_quiet_prefixes(
        settings.idle.prefix, settings.idle.loggers, quiet=timedelta(minutes=settings.idle.minutes)
    )
    return [sensor], [job]


def _webhooks(settings: Settings) -> tuple[list[dg.SensorDefinition], dict[str, object]]:
    """Return what notifies other systems, if any are configured."""
    given = settings.notifications
    if given.webhooks is None:
        if given.alerts is not None:
            raise BadSetting("ARGUS_ALERTS has no ARGUS_WEBHOOKS.", help="Name an endpoint that alerts go to.")
        return [], {}
    if given.webhook_secrets is None:
        raise BadSetting("ARGUS_WEBHOOKS has no ARGUS_WEBHOOK_SECRETS.", help="Give each endpoint a key that signs.")
    endpoints = parse_endpoints(given.webhooks.get_secret_value(), given.webhook_secrets.get_secret_value())
    if given.alerts is not None:
        read_alerts(given.alerts, endpoints=[endpoint.name for endpoint in endpoints])
    resource = WebhooksResource(
        database_url=dg.EnvVar("ARGUS_DATABASE_URL"),
        webhooks=dg.EnvVar("ARGUS_WEBHOOKS"),
        secrets=dg.EnvVar("ARGUS_WEBHOOK_SECRETS"),
        alerts=str(given.alerts) if given.alerts else None,
        source=given.event_source,
    )
    return [outcome_events_sensor, deliver_webhooks_sensor], {"webhooks": resource}


def _diagnostician(settings: Settings) -> DiagnosisResource:
    """Return the resource of the diagnosis. Secrets stay in the environment: the UI shows a resource's configuration."""
    secrets = {name: dg.EnvVar(name) for name in settings.secrets()}
    return DiagnosisResource.of(settings, database_url=dg.EnvVar("ARGUS_DATABASE_URL"), secrets=secrets)


defs = build_defs(Settings.from_env(os.environ))
