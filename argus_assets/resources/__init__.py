"""Dagster's ConfigurableResources, nothing else: each builds one thing of the domain or an adapter.

In version 0.1 the classes of `dagster_instance` were here, and a `dagster.yaml` of one's own may still name them.
"""

from argus_assets.common.moved_modules import MovedModules

MovedModules(
    "dagster.yaml",
    {
        "argus_assets.resources.storage": "module: argus_assets.dagster_instance.storage",
        "argus_assets.resources.run_coordinator": "module: argus_assets.dagster_instance.run_coordinator, "
        "class: ClockStepTolerantRunCoordinator",
        "argus_assets.resources.run_launcher": "module: argus_assets.dagster_instance.run_launcher",
        "argus_assets.resources.celery_launcher": "module: argus_assets.dagster_instance.celery_launcher",
    },
).install()
