"""Connect to a home: its settings, Dagster's instance and the bucket. Every command opens these.

Starting processes is the job of `supervisor`.
"""

import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from argus_assets.drop.bucket import Bucket
from argus_assets.errors import BadSetting, Unavailable
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
from argus_assets.runtime.private_folder import own_home
from argus_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg


def settings_for(home: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of the environment, with the home that a command was given."""
    return Settings.from_env({**environ, **({"ARGUS_HOME": str(home)} if home else {})})


def dagster_yaml() -> Path:
    """Return the path of `dagster.yaml`: at the top of a checkout, beside the modules of an installed package."""
    for place in (Path(__file__).parents[2], Path(__file__).parents[1]):
        if (place / "dagster.yaml").is_file():
            return place / "dagster.yaml"
    raise BadSetting("dagster.yaml is missing from the installation.", help="Install Argus again.")


def prepare_dagster_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME with the instance settings of this version; return it."""
    folder = settings.home / "dagster"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(dagster_yaml(), folder / "dagster.yaml")
    return folder


@contextmanager
def connect(home: Path | None = None) -> Generator[tuple["dg.DagsterInstance", Bucket]]:
    """Open the instance and the bucket of the settings; start the embedded PostgreSQL when nobody else has.

    Raises:
        BadSetting: Argus has never run in this home.
    """
    import dagster as dg

    from argus_assets.adapters.postgres.database import require_known_version

    settings = settings_for(home, os.environ)
    bucket = Bucket.from_url(settings.bucket_url)
    postgres: EmbeddedPostgres | None = None
    url = settings.database_url
    if url is None:
        if not (settings.home / "postgres").exists():
            raise BadSetting(
                f"Argus has never run in {settings.home}.",
                help="Start it with `argus up`, or name its home with --home or ARGUS_HOME.",
            )
        own_home(settings.home)
        postgres = EmbeddedPostgres(settings.home / "postgres")
        url = postgres.acquire()
    os.environ["ARGUS_DATABASE_URL"] = url  # dagster.yaml reads it from there
    try:
        require_known_version(url)
        with database_that_answers(), dg.DagsterInstance.from_config(str(prepare_dagster_home(settings))) as instance:
            yield instance, bucket
    finally:
        if postgres is not None:
            postgres.release()


@contextmanager
def database_that_answers() -> Generator[None]:
    """Translate what an unreachable or exhausted database raises into `Unavailable`."""
    import psycopg2
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    away = (
        DagsterPostgresException,
        OperationalError,
        InterfaceError,
        PoolTimeoutError,
        psycopg2.OperationalError,
        psycopg2.InterfaceError,
    )
    try:
        yield
    except away as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise Unavailable(
            f"The database did not answer: {reason}",
            help="Try again in a moment. If it persists: is PostgreSQL running, and who holds its connections "
            "(`SELECT * FROM pg_stat_activity`)?",
        ) from error
