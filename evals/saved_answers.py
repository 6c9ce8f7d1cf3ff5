"""Answers of a language model to documented drives: save them, and replay them without a model.

`answers/` has a file for each story: the answer as it came, and the version of the prompt that it answered. A replayed answer
goes the whole way of a live one: it is parsed, validated and may be refused.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from argus_assets.diagnosis.ports import LanguageModel, ModelFailed, ModelReply, ModelRequest, Reservation, Usage

ANSWERS: Final = Path(__file__).parent / "answers"


class SavedAnswer(BaseModel):
    """An answer to the drive of a story.

    Attributes:
        prompt_version: Version of the prompt that it answered; another one is no reason not to replay it.
        model: Who answered.
        answer: The answer, as the schema of the prompt wants it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_version: str
    model: str
    answer: dict[str, object]


def load_answers(root: Path = ANSWERS) -> dict[str, SavedAnswer]:
    """Load all saved answers by the name of their story.

    Raises:
        ValueError: A file is invalid. The message names it.
    """
    found: dict[str, SavedAnswer] = {}
    for path in sorted(root.glob("*/*.json")):
        try:
            found[f"{path.parent.name}/{path.stem}"] = SavedAnswer.model_validate_json(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
    return found


def save_answer(name: str, saved: SavedAnswer, root: Path = ANSWERS) -> Path:
    """Save an answer to a story; return its file."""
    path = root / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(saved.model_dump(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


@dataclass
class Replay:
    """A language model that gives one saved answer, and no other."""

    saved: SavedAnswer

    @property
    def name(self) -> str:
        """Return the name of the model that answered once."""
        return self.saved.model

    def slot(self, *, timeout_s: float) -> AbstractContextManager[None]:
        """Ask at once."""
        return nullcontext()

    def attempt(self, request: ModelRequest, *, timeout_s: float) -> ModelReply:
        """Return the saved answer; a repair is refused, for nobody is there to do it."""
        if request.previous is not None:
            raise ModelFailed("refused", "the saved answer is not valid, and nobody repairs it", retryable=False)
        return ModelReply(json.dumps(self.saved.answer), Usage(), self.name)


@dataclass
class Recorder:
    """A language model whose last answer is kept."""

    model: LanguageModel
    last: str = ""

    @property
    def name(self) -> str:
        """Return the name of the model."""
        return self.model.name

    def slot(self, *, timeout_s: float) -> AbstractContextManager[None]:
        """Wait for the model's own place."""
        return self.model.slot(timeout_s=timeout_s)

    def attempt(self, request: ModelRequest, *, timeout_s: float) -> ModelReply:
        """Ask the model, and keep what it says."""
        reply = self.model.attempt(request, timeout_s=timeout_s)
        self.last = reply.text
        return reply


def of_other_prompts(answers: Mapping[str, SavedAnswer], version: str) -> Sequence[str]:
    """Return the stories whose answers were given to another version of the prompt."""
    return [name for name, saved in answers.items() if saved.prompt_version != version]


class FreeLedger:
    """Ledger of replayed answers, which cost nothing."""

    def reserve(self, tokens: int, *, batch: str, model: str, priority: float) -> Reservation:
        """Allow a call."""
        return Reservation(0, tokens)

    def settle(self, reservation: Reservation, usage: Usage, *, outcome: str, cost_usd: float | None) -> None:
        """Forget it."""
