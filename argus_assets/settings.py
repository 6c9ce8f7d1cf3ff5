"""Settings: everything that Argus reads from the environment, with what it means.

A setting is a field here and nothing else: its variable, the check of its value, its row in `docs/settings.md` and what
child processes are given follow from it. Whoever uses a setting is given `Settings`, and reads no environment.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources.utils import parse_env_vars

from argus_assets.errors import BadSetting


def without_password(text: str) -> str:
    """Return a text whose URLs have neither user nor password."""
    return re.sub(r"://.*@", "://…@", text)


def _with_a_valid_port(url: str | None) -> str | None:
    """Refuse a URL whose password is not percent-encoded: libraries would show a part of it, taken for a port."""
    try:
        urlsplit(url or "").port  # noqa: B018 - it raises
    except ValueError:
        raise ValueError("the port is not a number; percent-encode the password (/ is %2F, @ is %40)") from None
    return url


def _absolute(path: Path) -> Path:
    """Return the path as child processes have to be given it: their working folder is another one."""
    return path.expanduser().absolute()


ConfigFile = Annotated[Path, AfterValidator(_absolute)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://")]
Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting.

    Attributes:
        name: Of the environment variable.
        group: Attribute of `Settings` that holds it, `None` for a setting of no group.
        field: Its attribute there.
        info: Its type, default and description.
    """

    name: str
    group: str | None
    field: str
    info: FieldInfo

    @property
    def is_secret(self) -> bool:
        """True for what must not be shown."""
        return "SecretStr" in str(self.info.annotation)


class _Environment(EnvSettingsSource):
    """Variables that are given, instead of those of this process."""

    def __init__(self, settings: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return parse_env_vars(self._environ, self.case_sensitive, self.env_ignore_empty, self.env_parse_none_str)


class Group(BaseSettings):
    """Settings whose variables share a prefix (`env_prefix`). An empty variable counts as absent."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments alone: the environment of this process is not looked at unless it is given."""
        return (init_settings,)

    @classmethod
    def names(cls) -> dict[str, str]:
        """Return field → variable, without the fields that are groups."""
        prefix = cls.model_config.get("env_prefix", "")
        return {name: f"{prefix}{name.upper()}" for name in cls.model_fields if name not in cls.groups()}

    @classmethod
    def groups(cls) -> dict[str, "type[Group]"]:
        """Return field → group, of the fields that are groups."""
        kinds = ((name, field.annotation) for name, field in cls.model_fields.items())
        return {name: kind for name, kind in kinds if isinstance(kind, type) and issubclass(kind, Group)}

    @classmethod
    def read(cls, environ: Mapping[str, str], **given: object) -> Self:
        """Return the settings of these variables.

        Args:
            environ: Variables.
            given: Values of fields, which come before variables.

        Raises:
            BadSetting: A value cannot be used.
        """
        names = cls.names()
        known = {name: environ[name] for name in names.values() if name in environ}
        fields: dict[str, Any] = {**_Environment(cls, known)(), **given}
        try:
            return cls(**fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = str(first["loc"][0])
            # Its cause would show the value as it is, in a traceback.
            raise BadSetting(
                f"{names[field]}={_shown(field, str(first['input']))!r} cannot be used: {first['msg']}.",
                help=f"It means: {cls.model_fields[field].description}",
            ) from None


def _shown(field: str, value: str) -> str:
    """Return what may be shown of a wrong value."""
    return re.sub(r"://.*@.*", "://…", value) if field == "database_url" else without_password(value)


class LlmSettings(Group):
    """The language model that diagnoses."""

    model_config = SettingsConfigDict(env_prefix="ARGUS_LLM_")

    model: Annotated[
        Name | None, Field(description="Language model that diagnoses, as its endpoint names it; none for rules alone.")
    ] = None
    url: Annotated[
        HttpUrl | None, Field(description="Base URL of an OpenAI-compatible endpoint; none for OpenAI's own.")
    ] = None
    api_key: Annotated[SecretStr | None, Field(description="Key of the endpoint, where it wants one.")] = None
    daily_tokens: Annotated[
        int, Field(description="Tokens that may be spent in a day (UTC), prompts and answers together.", ge=0)
    ] = 100_000
    vehicle_share: Annotated[
        float, Field(description="Part of these tokens that the drives of one vehicle may take together.", gt=0, le=1)
    ] = 0.25
    concurrency: Annotated[
        int, Field(description="Calls to the model at the same time, over all processes.", ge=1, le=256)
    ] = 4
    deadline_s: Annotated[
        float, Field(description="Seconds that a diagnosis waits for the model, retries included.", gt=0, le=600)
    ] = 30.0
    prices: Annotated[ConfigFile | None, Field(description="TOML file of model prices; see docs/diagnosis.md.")] = None


class EmbeddingSettings(Group):
    """The embedding model that finds similar cases."""

    model_config = SettingsConfigDict(env_prefix="ARGUS_EMBEDDING_")

    model: Annotated[
        Name | None, Field(description="Model that makes vectors of cases; none for vectors of code counts.")
    ] = None
    url: Annotated[
        HttpUrl | None, Field(description="Base URL of its OpenAI-compatible endpoint; none for OpenAI's own.")
    ] = None
    api_key: Annotated[SecretStr | None, Field(description="Key of that endpoint.")] = None


class IdleSettings(Group):
    """Sessions of loggers that send no manifest."""

    model_config = SettingsConfigDict(env_prefix="ARGUS_QUIET_")

    prefix: Annotated[
        Name | None, Field(description="Prefix under which loggers put sessions without manifests; see docs/drop.md.")
    ] = None
    minutes: Annotated[
        float, Field(description="Minutes without a change after which such a session is complete.", gt=0)
    ] = 30.0
    loggers: Annotated[
        ConfigFile | None, Field(description="TOML file that names the vehicle of each logger; see docs/drop.md.")
    ] = None


class RetentionSettings(Group):
    """How long things are kept."""

    model_config = SettingsConfigDict(env_prefix="ARGUS_RETAIN_")

    days: Annotated[
        int, Field(description="Days that Dagster keeps a completed batch, its events and its manifest.", ge=1)
    ] = 90
    batches: Annotated[
        int, Field(description="Batches that Dagster keeps; beyond that the oldest completed ones go earlier.", ge=1)
    ] = 20_000
    accepted_days: Annotated[
        int | None, Field(description="Days that accepted manifests are kept; none for as long as their batch.", ge=1)
    ] = None
    runs_days: Annotated[
        int, Field(description="Days that runs without a batch, and events without a run, are kept.", ge=1)
    ] = 90
    memory_days: Annotated[
        int, Field(description="Days that saved answers, drives to compare with and model calls are kept.", ge=90)
    ] = 365
    recordings_days: Annotated[
        int | None, Field(description="Days that recordings of a completed batch are kept; none for ever.", ge=1)
    ] = None


class NotificationSettings(Group):
    """Events and alerts for other systems."""

    model_config = SettingsConfigDict(env_prefix="ARGUS_")

    webhooks: Annotated[
        SecretStr | None,
        Field(
            description="Endpoints that get events: name=https://host/path, separated by blanks; see docs/outcomes.md."
        ),
    ] = None
    webhook_secrets: Annotated[
        SecretStr | None, Field(description="Keys that sign their events: name=whsec_…, separated by blanks.")
    ] = None
    alerts: Annotated[ConfigFile | None, Field(description="TOML file of alert rules; see docs/outcomes.md.")] = None
    event_source: Annotated[
        str, Field(description="What events name as their source: a URI reference.", pattern=r"^\S+$")
    ] = "/argus"


class Settings(Group):
    """All settings. Endpoint and credentials of S3 are the standard `AWS_…` variables."""

    model_config = SettingsConfigDict(env_prefix="ARGUS_")

    home: Annotated[Path, Field(description="Home folder: database, lake, logs, and the folder bucket.")]
    database_url: Annotated[
        str | None,
        Field(
            description="postgresql:// URL of a database with pgvector; none for the embedded PostgreSQL.",
            pattern=r"^postgres(ql)?(\+psycopg2)?://",
            repr=False,
        ),
        AfterValidator(_with_a_valid_port),
    ] = None
    bucket_url: Annotated[
        Name,
        Field(
            description="Drop bucket: s3://bucket[/prefix] or a folder.",
            default_factory=lambda given: str(given["home"] / "bucket"),
        ),
    ]
    lake_url: Annotated[
        Name,
        Field(
            description="Where results are kept: s3://bucket/prefix or a folder.",
            default_factory=lambda given: str(given["home"] / "lake"),
        ),
    ]
    decoders: Annotated[
        ConfigFile | None,
        Field(description="TOML file that declares programs that read further formats; see docs/recordings.md."),
    ] = None
    limits: Annotated[
        ConfigFile | None, Field(description="TOML file of what one recording may cost; see docs/recordings.md.")
    ] = None
    faults: Annotated[
        ConfigFile | None,
        Field(description="TOML file of rules, signals and more on how faults are detected; see docs/faults.md."),
    ] = None
    pseudonym_key: Annotated[
        SecretStr | None,
        Field(description="Key of the pseudonyms of vehicles; made and kept in the home when there is none."),
    ] = None
    sensor_interval_s: Annotated[int, Field(description="Seconds between inbox sensor ticks.", ge=1, le=3600)] = 5
    run_seconds: Annotated[
        float, Field(description="Seconds of work that the sensor puts into one run, estimated.", gt=0, le=3600)
    ] = 60.0
    run_memory_mb: Annotated[
        int | None,
        Field(description="MiB that one run may take; none for an equal share of the machine's memory.", ge=256),
    ] = None
    max_batch_gb: Annotated[
        float | None, Field(description="Largest batch that is accepted, in GB (10^9 bytes); none for no limit.", gt=0)
    ] = None
    stale_upload_hours: Annotated[
        float, Field(description="Hours without a change after which an upload without manifest is reported.", gt=0)
    ] = 6.0
    log_format: Annotated[
        Literal["text", "json"], Field(description="Format of log lines: text, or a JSON object a line.")
    ] = "text"
    port: Annotated[int, Field(description="Port of the Dagster UI.", ge=0, le=65535)] = 3000
    llm: LlmSettings = LlmSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    idle: IdleSettings = IdleSettings()
    retention: RetentionSettings = RetentionSettings()
    notifications: NotificationSettings = NotificationSettings()

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read all settings.

        Raises:
            BadSetting: A value cannot be used.
        """
        home = Path(environ.get("ARGUS_HOME") or Path(environ.get("HOME") or os.path.sep) / ".argus")
        groups = {name: group.read(environ) for name, group in cls.groups().items()}
        return cls.read(environ, home=_absolute(home), **groups)

    @property
    def max_batch_bytes(self) -> int | None:
        """Largest batch that is accepted, `None` for no limit."""
        return None if self.max_batch_gb is None else int(self.max_batch_gb * 1e9)

    @classmethod
    def variables(cls) -> tuple[Variable, ...]:
        """Return every setting, those of no group first."""
        places: list[tuple[str | None, type[Group]]] = [(None, cls), *cls.groups().items()]
        return tuple(
            Variable(name, group, field, kind.model_fields[field])
            for group, kind in places
            for field, name in kind.names().items()
        )

    def secrets(self) -> dict[str, str]:
        """Return variable → value of the secrets that are set."""
        given = ((variable.name, self._value(variable)) for variable in self.variables())
        return {name: value.get_secret_value() for name, value in given if isinstance(value, SecretStr)}

    def environment(self, *, hide: bool = False) -> dict[str, str]:
        """Return the variables that give exactly these settings to a child process.

        Args:
            hide: Leave secrets and passwords of URLs out of it, for people who look.
        """
        given = {v.name: str(value) for v in self.variables() if (value := self._value(v)) is not None}
        return {name: without_password(value) for name, value in given.items()} if hide else {**given, **self.secrets()}

    def _value(self, variable: Variable) -> object:
        return getattr(self if variable.group is None else getattr(self, variable.group), variable.field)
