"""Everything that a diagnosis uses, as one Dagster resource: model, budget, saved answers, cases, memory of drives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from argus_assets.adapters.embeddings import OpenAiEmbedder
from argus_assets.adapters.openai_model import OpenAiModel
from argus_assets.adapters.postgres.answers import PostgresAnswerCache
from argus_assets.adapters.postgres.cases import PostgresCaseStore
from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.drives import PostgresDriveMemory
from argus_assets.adapters.postgres.ledger import PostgresLedger
from argus_assets.adapters.postgres.llm_concurrency import LlmConcurrencyLimit
from argus_assets.adapters.pseudonym_key import load_or_make_key
from argus_assets.diagnosis.budget import VEHICLE_SHARE
from argus_assets.diagnosis.calibration import Calibration
from argus_assets.diagnosis.diagnose import Services
from argus_assets.diagnosis.ports import DriveMemory
from argus_assets.diagnosis.prices import Prices
from argus_assets.diagnosis.pseudonym import pseudonym
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.settings import Settings


class DiagnosisResource(dg.ConfigurableResource[Any]):
    """Services of diagnoses.

    Attributes:
        database_url: `postgresql://…` of Argus's database.
        home: Home of Argus, which keeps the key of pseudonyms when none is given.
        model: Language model; none for rules alone.
        url: Its OpenAI-compatible endpoint; none for OpenAI's own.
        api_key: Of the endpoint.
        daily_tokens: Budget of a day (UTC).
        vehicle_share: Part of it that the drives of one vehicle may take.
        concurrency: Calls at the same time, over all processes.
        deadline_s: Seconds for the calls of one diagnosis together.
        prices: TOML file of prices.
        embedding_model: Makes the vectors of cases; none for vectors of code counts.
        embedding_url: Its OpenAI-compatible endpoint; none for OpenAI's own.
        embedding_api_key: Of that endpoint.
        pseudonym_key: Key of the vehicles' pseudonyms; made and kept in `home` when none is given.
    """

    database_url: str
    home: str
    model: str | None = None
    url: str | None = None
    api_key: str | None = None
    daily_tokens: int = 100_000
    vehicle_share: float = VEHICLE_SHARE
    concurrency: int = 4
    deadline_s: float = 30.0
    prices: str | None = None
    embedding_model: str | None = None
    embedding_url: str | None = None
    embedding_api_key: str | None = None
    pseudonym_key: str | None = None

    _services: Services | None = PrivateAttr(default=None)
    _database: Database | None = PrivateAttr(default=None)
    _secret: bytes | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, settings: Settings, *, database_url: str, secrets: Mapping[str, str]) -> "DiagnosisResource":
        """Return the resource of these settings.

        Args:
            settings: All of them.
            database_url: URL of the database, or the `dg.EnvVar` that holds it.
            secrets: Variable → value, or the `dg.EnvVar` that holds it, of the secrets that are set.
        """
        return cls(
            database_url=database_url,
            home=str(settings.home),
            model=settings.llm.model,
            url=settings.llm.url,
            api_key=secrets.get("ARGUS_LLM_API_KEY"),
            daily_tokens=settings.llm.daily_tokens,
            vehicle_share=settings.llm.vehicle_share,
            concurrency=settings.llm.concurrency,
            deadline_s=settings.llm.deadline_s,
            prices=str(settings.llm.prices) if settings.llm.prices else None,
            embedding_model=settings.embedding.model,
            embedding_url=settings.embedding.url,
            embedding_api_key=secrets.get("ARGUS_EMBEDDING_API_KEY"),
            pseudonym_key=secrets.get("ARGUS_PSEUDONYM_KEY"),
        )

    @property
    def has_model(self) -> bool:
        """True when a language model is configured."""
        return self.model is not None

    def database(self) -> Database:
        """Return Argus's database."""
        if self._database is None:
            self._database = Database(self.database_url)
        return self._database

    def ledger(self) -> PostgresLedger:
        """Return the ledger of tokens."""
        return PostgresLedger(self.database(), daily_tokens=self.daily_tokens, vehicle_share=self.vehicle_share)

    def cases(self) -> PostgresCaseStore:
        """Return the store of confirmed cases."""
        embedder = (
            OpenAiEmbedder(self.embedding_model, url=self.embedding_url, api_key=self.embedding_api_key)
            if self.embedding_model
            else None
        )
        return PostgresCaseStore(self.database(), embedder=embedder)

    def memory(self) -> DriveMemory:
        """Return the memory of earlier drives' faults."""
        return PostgresDriveMemory(self.database())

    def services(self) -> Services:
        """Return the services of a diagnosis; made once, calibrated by the cases until then.

        Raises:
            Unavailable: The database did not answer.
            BadSetting: It lacks pgvector, or the table of prices cannot be used.
        """
        if self._services is None:
            cases = self.cases()
            self._services = Services(
                catalogue=load_catalogue(),
                cases=cases,
                answers=PostgresAnswerCache(self.database()),
                ledger=self.ledger(),
                model=self.language_model(),
                prices=Prices.load(Path(self.prices) if self.prices else None),
                calibration=Calibration.of(cases.outcomes()),
                deadline_s=self.deadline_s,
            )
        return self._services

    def language_model(self) -> OpenAiModel | None:
        """Return the configured model, `None` without one."""
        if self.model is None:
            return None
        return OpenAiModel(
            self.model,
            url=self.url,
            api_key=self.api_key,
            slots=LlmConcurrencyLimit(self.database(), self.concurrency).slot,
        )

    def pseudonym(self, vehicle_id: str) -> str:
        """Return the name of a vehicle for places where its own must not appear."""
        if self._secret is None:
            self._secret = self.pseudonym_key.encode() if self.pseudonym_key else load_or_make_key(Path(self.home))
        return pseudonym(vehicle_id, self._secret)

    def tokens_left(self) -> int:
        """Return what is left of today's budget."""
        return self.ledger().today().left
