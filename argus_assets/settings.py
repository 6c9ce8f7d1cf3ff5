"""Settings: what the platform reads from the environment, in one place, with what each one means."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from argus_assets.errors import BadSetting


def without_password(text: str) -> str:
    """A text whose URLs have no user and no password."""
    return re.sub(r"://.*@", "://…@", text)


def _with_a_port_that_is_one(url: str | None) -> str | None:
    """Libraries tell what they take for a port when a password is not percent-encoded."""
    try:
        urlsplit(url or "").port  # noqa: B018 - it raises
    except ValueError:
        raise ValueError(
            "what stands for the port is no number; percent-encode the password (/ is %2F, @ is %40)"
        ) from None
    return url


class Settings(BaseModel):
    """Settings of one platform. Endpoint and credentials of S3 are the standard `AWS_…` variables."""

    model_config = ConfigDict(frozen=True)

    home: Annotated[Path, Field(description="Folder of the platform: database, lake, logs, and the folder bucket.")]
    database_url: Annotated[
        str | None,
        Field(
            description="postgresql:// URL of a database with pgvector; none for the embedded PostgreSQL.",
            pattern=r"^postgres(ql)?(\+psycopg2)?://",
            repr=False,
        ),
        AfterValidator(_with_a_port_that_is_one),
    ] = None
    bucket_url: Annotated[str, Field(description="Drop bucket: s3://bucket[/prefix] or a folder.", min_length=1)]
    lake_url: Annotated[str, Field(description="Where results are kept: s3://bucket/prefix or a folder.", min_length=1)]
    decoders: Annotated[
        Path | None,
        Field(description="TOML file that declares programs that read further formats; see docs/recordings.md."),
    ] = None
    limits: Annotated[
        Path | None, Field(description="TOML file of what one recording may cost; see docs/recordings.md.")
    ] = None
    faults: Annotated[
        Path | None,
        Field(description="TOML file of rules, signals and more on how faults are looked for; see docs/faults.md."),
    ] = None
    llm_model: Annotated[
        str | None,
        Field(
            description="Language model that diagnoses, as its endpoint names it; none for rules alone.", min_length=1
        ),
    ] = None
    llm_url: Annotated[
        str | None,
        Field(description="Base URL of an OpenAI-compatible endpoint; none for OpenAI's own.", pattern=r"^https?://"),
    ] = None
    llm_api_key: Annotated[SecretStr | None, Field(description="Key of the endpoint, where it wants one.")] = None
    llm_daily_tokens: Annotated[
        int, Field(description="Tokens that may be spent in a day (UTC), prompts and answers together.", ge=0)
    ] = 100_000
    llm_vehicle_share: Annotated[
        float, Field(description="Part of these tokens that the drives of one vehicle may take together.", gt=0, le=1)
    ] = 0.25
    llm_concurrency: Annotated[
        int, Field(description="Calls to the model at the same time, over all processes.", ge=1, le=256)
    ] = 4
    llm_deadline_s: Annotated[
        float, Field(description="Seconds that a diagnosis waits for the model, retries included.", gt=0, le=600)
    ] = 30.0
    llm_prices: Annotated[Path | None, Field(description="TOML file of prices of models; see docs/diagnosis.md.")] = (
        None
    )
    embedding_model: Annotated[
        str | None,
        Field(description="Model that makes vectors of cases; none for vectors of code counts.", min_length=1),
    ] = None
    embedding_url: Annotated[
        str | None,
        Field(description="Base URL of its OpenAI-compatible endpoint; none for OpenAI's own.", pattern=r"^https?://"),
    ] = None
    embedding_api_key: Annotated[SecretStr | None, Field(description="Key of that endpoint.")] = None
    pseudonym_key: Annotated[
        SecretStr | None,
        Field(
            description="Key from which vehicles get their pseudonyms; made and kept in the home when there is none."
        ),
    ] = None
    sensor_interval_s: Annotated[int, Field(description="Seconds between two looks into the inbox.", ge=1, le=3600)] = 5
    run_seconds: Annotated[
        float, Field(description="Seconds of work that the sensor puts into one run, estimated.", gt=0, le=3600)
    ] = 60.0
    run_memory_mb: Annotated[
        int | None,
        Field(description="MiB that one run may take; none for an equal share of the machine's memory.", ge=256),
    ] = None
    stale_upload_hours: Annotated[
        float, Field(description="Hours without a change after which an upload without manifest is reported.", gt=0)
    ] = 6.0
    quiet_prefix: Annotated[
        str | None,
        Field(description="Prefix under which loggers put sessions without manifests; see docs/drop.md.", min_length=1),
    ] = None
    quiet_minutes: Annotated[
        float, Field(description="Minutes without a change after which such a session is complete.", gt=0)
    ] = 30.0
    quiet_loggers: Annotated[
        Path | None, Field(description="TOML file that names the vehicle of each logger; see docs/drop.md.")
    ] = None
    max_batch_gb: Annotated[
        float | None, Field(description="Largest batch that is taken, in GB (10^9 bytes); none for no limit.", gt=0)
    ] = None
    retain_days: Annotated[
        int, Field(description="Days that Dagster keeps a completed batch, its events and its manifest.", ge=1)
    ] = 90
    retain_batches: Annotated[
        int, Field(description="Batches that Dagster keeps; beyond that the oldest completed ones go earlier.", ge=1)
    ] = 20_000
    retain_accepted_days: Annotated[
        int | None, Field(description="Days that accepted manifests are kept; none for as long as their batch.", ge=1)
    ] = None
    retain_runs_days: Annotated[
        int, Field(description="Days that runs without a batch, and events without a run, are kept.", ge=1)
    ] = 90
    retain_memory_days: Annotated[
        int, Field(description="Days that saved answers, drives to compare with and model calls are kept.", ge=90)
    ] = 365
    retain_recordings_days: Annotated[
        int | None, Field(description="Days that recordings of a completed batch are kept; none for ever.", ge=1)
    ] = None
    webhooks: Annotated[
        SecretStr | None,
        Field(description="Who is told of events: name=https://host/path, several with blanks; see docs/outcomes.md."),
    ] = None
    webhook_secrets: Annotated[
        SecretStr | None, Field(description="Keys that sign their events: name=whsec_…, several with blanks.")
    ] = None
    alerts: Annotated[
        Path | None, Field(description="TOML file of rules of what is an alert; see docs/outcomes.md.")
    ] = None
    event_source: Annotated[
        str, Field(description="What events of this platform name as their source: a URI reference.", pattern=r"^\S+$")
    ] = "/argus"
    log_format: Annotated[
        Literal["text", "json"], Field(description="Format of log lines: text, or a JSON object a line.")
    ] = "text"
    port: Annotated[int, Field(description="Port of the Dagster UI.", ge=0, le=65535)] = 3000

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read `ARGUS_<NAME>` for each setting.

        Raises:
            BadSetting: A value cannot be used.
        """
        given = {name: environ[key] for name, key in cls.variables().items() if environ.get(key)}
        home = Path(given.get("home") or Path(environ.get("HOME") or os.path.sep) / ".argus").expanduser().absolute()
        for name in given.keys() & {
            "decoders",
            "limits",
            "faults",
            "llm_prices",
            "quiet_loggers",
            "alerts",
        }:  # children have other working folders
            given[name] = str(Path(given[name]).expanduser().absolute())
        given.setdefault("bucket_url", str(home / "bucket"))
        given.setdefault("lake_url", str(home / "lake"))
        try:
            return cls.model_validate({**given, "home": home})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            given_as = str(first["input"])
            shown = re.sub(r"://.*@.*", "://…", given_as) if name == "database_url" else without_password(given_as)
            # Its cause would tell the value as it is, in a traceback.
            raise BadSetting(
                f"{cls.variables()[name]}={shown!r} cannot be used: {first['msg']}.",
                help=f"It means: {cls.model_fields[name].description}",
            ) from None

    @property
    def max_batch_bytes(self) -> int | None:
        """Largest batch that is taken, `None` for no limit."""
        return None if self.max_batch_gb is None else int(self.max_batch_gb * 1e9)

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Setting → environment variable."""
        return {name: f"ARGUS_{name.upper()}" for name in cls.model_fields}

    def environment(self, *, hide: bool = False) -> dict[str, str]:
        """The variables that give exactly these settings to a child process.

        Args:
            hide: Secrets, and passwords of URLs, are left out of it, for people who look.
        """
        given = {key: value for name, key in self.variables().items() if (value := getattr(self, name)) is not None}
        if hide:
            return {key: without_password(str(value)) for key, value in given.items()}
        return {
            key: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for key, value in given.items()
        }
