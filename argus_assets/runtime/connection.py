"""The connection to a home: its settings, Dagster's instance and the bucket. What every command opens.

The processes of a running Argus are `supervisor`'s.
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
    """Settings from the environment, with the home that a command was given."""
    return Settings.from_env({**environ, **({"ARGUS_HOME": str(home)} if home else {})})


def dagster_yaml() -> Path:
    """The instance settings: in a checkout at its top, in an installed package beside the modules."""
    for place in (Path(__file__).parents[2], Path(__file__).parents[1]):
        if (place / "dagster.yaml").is_file():
            return place / "dagster.yaml"
    raise BadSetting("dagster.yaml is missing from the installation.", help="Install Argus again.")


def prepare_dagster_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME with the instance settings; returns it."""
    folder = settings.home / "dagster"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(dagster_yaml(), folder / "dagster.yaml")
    return folder


@contextmanager
def connect(home: Path | None = None) -> Generator[tuple["dg.DagsterInstance", Bucket]]:
    """The instance and the bucket that the settings name; starts the embedded PostgreSQL when nobody else has.

    Raises:
        BadSetting: There is no platform at this home.
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
                f"There is no platform in {settings.home}.",
                help="Start one with `argus up`, or name its folder with --home or ARGUS_HOME.",
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
    """Translate what a database raises that is away, or has no free connection, into `Unavailable`."""
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
        said = str(error.__cause__ or error).strip().splitlines()[0]
        raise Unavailable(
            f"The database did not answer: {said}",
            help="Wait, and try again. If it stays so: does PostgreSQL run, and who holds its connections "
            "(`SELECT * FROM pg_stat_activity`)?",
        ) from error
