"""Diagnose the drives of documented stories as `argus diagnose` does. What was read and found is kept; answers are not."""

import inspect
import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import argus_assets
from argus_assets.diagnosis import local
from argus_assets.diagnosis.diagnose import Services
from argus_assets.diagnosis.model import Diagnosis
from argus_assets.diagnosis.ports import LanguageModel, ModelFailed, ModelReply, ModelRequest
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.faults.config import default_config
from evals.drives.build import cached_drive, drive_key
from evals.saved_answers import FreeLedger, Replay, SavedAnswer
from evals.story import Story
from evals.story_scores import StoryAnswer, judge

NOW: Final = datetime(2027, 9, 1, tzinfo=UTC)
"""Time of the answers: after all drives."""

_UPSTREAM: Final = ("common", "containment", "recordings", "faults", "stats")


@dataclass(frozen=True, slots=True)
class Told:
    """The diagnosis of a story's drive.

    Attributes:
        codes: Code of each item of evidence.
    """

    diagnosis: Diagnosis
    codes: dict[str, str]


def tell(wanted: tuple[str, Story, Path]) -> tuple[str, Told]:
    """Diagnose the drive of a story, without a language model."""
    name, story, cache = wanted
    return name, told_by(name, story, cache)


def told_by(name: str, story: Story, cache: Path, model: LanguageModel | None = None) -> Told:
    """Diagnose the drive of a story.

    Args:
        name: Name of the story.
        story: The story.
        cache: Folder of drives, and of what was read of them.
        model: Language model that may be asked.
    """
    services = Services(catalogue=load_catalogue(), model=model, ledger=FreeLedger())
    made = local.diagnose_read(_read(name, story, cache), now=NOW, faults=default_config(), services=services)
    return Told(made.diagnosis, {item.id: item.code for item in made.evidence.items})


def prompt_of(name: str, story: Story, cache: Path) -> ModelRequest | None:
    """Return what a language model is asked about the drive of a story; `None` where the fast path answers."""
    asked: list[ModelRequest] = []

    class Asked(Replay):
        def attempt(self, request: ModelRequest, *, timeout_s: float) -> ModelReply:
            asked.append(request)
            raise ModelFailed("refused", "only the question is wanted", retryable=False)

    told_by(name, story, cache, Asked(SavedAnswer(prompt_version="", model="none", answer={})))
    return asked[0] if asked else None


def replayed(
    stories: Mapping[str, Story], saved: Mapping[str, SavedAnswer], cache: Path
) -> tuple[list[StoryAnswer], dict[str, Diagnosis]]:
    """Diagnose the stories that have a saved answer by it. Return the judged answers and the diagnoses."""
    judged: list[StoryAnswer] = []
    made: dict[str, Diagnosis] = {}
    for name, answer in saved.items():
        if name in stories:
            told = told_by(name, stories[name], cache, Replay(answer))
            made[name] = told.diagnosis
            judged.append(judge(name, stories[name], told.diagnosis, told.codes))
    return judged, made


def answers(
    stories: Mapping[str, Story], cache: Path, *, processes: int = 2, on_done: Callable[[], None] = lambda: None
) -> list[StoryAnswer]:
    """Diagnose and judge all stories.

    Args:
        stories: By name.
        cache: Folder of drives, and of what was read of them.
        processes: Processes at a time.
        on_done: Called after each.
    """
    judged: list[StoryAnswer] = []
    with ProcessPoolExecutor(max_workers=processes, mp_context=get_context("spawn")) as pool:
        for name, told in pool.map(tell, [(name, story, cache) for name, story in stories.items()], chunksize=4):
            judged.append(judge(name, stories[name], told.diagnosis, told.codes))
            on_done()
    return judged


def _read(name: str, story: Story, cache: Path) -> local.ReadDrive:
    """Return what is read and found in the recordings of a story."""
    path = cache / "read" / _reader_version() / f"{drive_key(name, story)}.pickle"
    if not path.exists():
        files = [(file.name, file, True) for file in cached_drive(name, story, cache)]
        made = local.read_files(files, faults=default_config())
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(pickle.dumps(made))
        new.replace(path)
        return made
    return pickle.loads(path.read_bytes())  # noqa: S301 written above, in the user's own cache


@lru_cache(maxsize=1)
def _reader_version() -> str:
    """Return a version that changes with whatever reads recordings and finds faults."""
    root = Path(argus_assets.__file__).parent
    digest = sha256()
    for package in _UPSTREAM:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".toml", ".csv"):
                digest.update(path.read_bytes())
    for part in (local.ReadDrive, local.read_files):
        digest.update(inspect.getsource(part).encode())
    return digest.hexdigest()[:12]
