"""`python -m evals`: diagnose simulated batches, or the drives of documented stories; print the scores, and record them."""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatchcase
from multiprocessing import get_context
from pathlib import Path

import click

from argus_assets.diagnosis.citations import citation_problems
from argus_assets.errors import ArgusError
from evals import report
from evals.answerers import Answerer, by_model, by_retrieval, by_rules, by_rules_and_cases, cases_of
from evals.batches import SEEDS, Batch, Split, make_one
from evals.scenario import Named, load_scenarios
from evals.scores import Answer, judge
from evals.story import Platform, StorySplit, load_stories

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "argus-evals"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Score diagnoses of drives with known causes."""


@main.command()
@click.option("--split", type=click.Choice(["dev", "test"]), default="test", show_default=True, help="Seeds to use.")
@click.option("--only", default="*", help="Pattern of scenario names.")
@click.option("--llm", is_flag=True, help="Also ask the language model that ARGUS_LLM_… configure.")
@click.option("--max-calls", default=200, show_default=True, help="Maximum number of calls to it.")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="Folder of cached drives.")
@click.option("--show-failures", is_flag=True, help="Print each batch with a wrong answer.")
@click.option("--record", is_flag=True, help="Add the run to docs/evals.md.")
def simulated(
    split: Split, only: str, llm: bool, max_calls: int, cache: Path, show_failures: bool, record: bool
) -> None:
    """Score diagnoses on simulated batches with known causes."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console()
    named = [n for n in load_scenarios() if fnmatchcase(n.name, only)]
    if not named:
        raise click.UsageError(f"No scenario is called {only!r}.")
    wanted = [(n, seed) for n in named for seed in SEEDS[split]]
    memory = [(n, seed) for n in load_scenarios() if n.scenario.difficulty != "hard" for seed in SEEDS["dev"]]
    todo = [*wanted, *(pair for pair in memory if pair not in wanted)]
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("preparing batches", total=len(todo))
        made: dict[tuple[str, int], Batch] = {}
        # Pairs of one drive come together: each process keeps the last few.
        todo.sort(key=lambda pair: (pair[0].scenario.simulate, pair[1]))
        with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=get_context("spawn")) as pool:
            for batch in pool.map(make_one, [(n, seed, cache) for n, seed in todo], chunksize=4):
                made[batch.name, batch.seed] = batch
                progress.advance(task)
    store = cases_of([(made[n.name, seed], n.scenario) for n, seed in memory])
    ways: dict[str, Answerer] = {
        "retrieval": by_retrieval(store),
        "offline": by_rules(),
        "offline + cases": by_rules_and_cases(store),
    }
    if llm:
        ways["llm"] = by_model(store, max_calls)
    answers: dict[str, list[Answer]] = {}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for way, answerer in ways.items():
            task = progress.add_task(way, total=len(wanted))
            for n, seed in wanted:
                answers.setdefault(way, []).append(_answer(answerer, n, made[n.name, seed]))
                progress.advance(task)
    report.show(console, split, answers)
    if show_failures:
        report.show_failures(console, answers)
    if record:
        console.print(f"Recorded in {report.record(split, answers)}.")


def _answer(answerer: Answerer, named: Named, batch: Batch) -> Answer:
    made = answerer(batch, batch.evidence)
    plain = answerer(batch, batch.plain) if batch.plain is not None else None
    return judge(
        made,
        (named.name, batch.seed),
        named.scenario,
        wrong_citations=citation_problems(made, batch.evidence, batch.facts),
        codes={item.id: item.code for item in batch.evidence.items},
        plain=plain,
    )


@main.command()
@click.option(
    "--split", type=click.Choice(["train", "test", "sealed"]), help="Split to use; train and test by default."
)
@click.option("--only", default="*", help="Pattern of story names, such as 'truck/*'.")
@click.option("--platform", type=click.Choice(["truck", "car", "av"]), help="Platform to use; all by default.")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="Folder of cached drives.")
@click.option("--show-failures", is_flag=True, help="Print each story with another answer; never sealed ones.")
@click.option("--json", "to_json", type=click.Path(path_type=Path, dir_okay=False), help="Write scores and answers.")
@click.option("--record", is_flag=True, help="Write the scores into docs/evals.md.")
@click.option("--open-sealed", is_flag=True, help="Allow the sealed split: its scores are recorded whatever they are.")
def stories(
    split: StorySplit | None,
    only: str,
    platform: Platform | None,
    cache: Path,
    show_failures: bool,
    to_json: Path | None,
    record: bool,
    open_sealed: bool,
) -> None:
    """Score diagnoses of documented drives with confirmed causes."""
    from rich.console import Console
    from rich.progress import Progress

    from evals import story_report
    from evals.story_run import answers

    console = Console()
    if record and (only != "*" or platform is not None):
        raise click.UsageError("Only whole splits are recorded.")
    if split == "sealed":
        if not open_sealed:
            raise click.UsageError("The sealed split is run once, at the end. --open-sealed opens it.")
        if show_failures:
            raise click.UsageError("Answers to sealed stories are never shown.")
        console.print(
            "Sealed stories: these scores must be recorded in docs/evals.md, whatever they are.", style="bold"
        )
    wanted = {
        name: story
        for name, story in load_stories().items()
        if fnmatchcase(name, only)
        and platform in (None, story.platform)
        and (story.split == split if split else story.split != "sealed")
    }
    if not wanted:
        raise click.UsageError("No such stories.")
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("diagnosing", total=len(wanted))
        judged = answers(wanted, cache, on_done=lambda: progress.advance(task))
    for name, some in story_report.by(judged, lambda a: a.story.split).items():
        story_report.show(console, name, some)
        console.print()
    if show_failures:
        story_report.show_failures(console, judged)
    if to_json is not None:
        story_report.write_json(to_json, judged)
    if record:
        console.print(f"Recorded in {story_report.record(judged)}.")


@main.command("model")
@click.option("--split", type=click.Choice(["train", "test"]), help="Split to use; train and test by default.")
@click.option("--only", default="*", help="Pattern of story names, such as 'truck/*'.")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="Folder of cached drives.")
@click.option("--llm", is_flag=True, help="Ask the language model that ARGUS_LLM_… configure, and save its answers.")
@click.option("--answers", type=click.Path(path_type=Path), help="Folder of saved answers; evals/answers by default.")
@click.option("--prompts", type=click.Path(path_type=Path), help="Write the prompts to this folder, and ask nobody.")
@click.option("--max-calls", default=200, show_default=True, help="Maximum number of calls to it.")
@click.option("--show-failures", is_flag=True, help="Print each story with another answer.")
def model(
    split: StorySplit | None,
    only: str,
    cache: Path,
    llm: bool,
    answers: Path | None,
    prompts: Path | None,
    max_calls: int,
    show_failures: bool,
) -> None:
    """Score a language model's answers to documented drives: those saved, or new ones."""
    import json

    from rich.console import Console

    from argus_assets.diagnosis.prompt import PROMPT_VERSION
    from evals import story_report
    from evals.saved_answers import ANSWERS, Recorder, SavedAnswer, load_answers, of_other_prompts, save_answer
    from evals.story_run import prompt_of, replayed, told_by

    console = Console()
    root = ANSWERS if answers is None else answers
    wanted = {
        name: story
        for name, story in load_stories().items()
        if fnmatchcase(name, only) and story.split in ((split,) if split else ("train", "test"))
    }
    if prompts is not None:
        for name, story in wanted.items():
            request = prompt_of(name, story, cache)
            if request is not None:
                path = prompts / f"{name}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{request.system}\n{request.user}\n\n{json.dumps(request.schema)}\n", "utf-8")
        return
    if llm:
        from evals.answerers import configured_model

        recorder = Recorder(configured_model())
        for name, story in list(wanted.items())[:max_calls]:
            recorder.last = ""
            told_by(name, story, cache, recorder)
            if recorder.last.strip().startswith("{"):
                save_answer(
                    name,
                    SavedAnswer(prompt_version=PROMPT_VERSION, model=recorder.name, answer=json.loads(recorder.last)),
                    root,
                )
    saved = load_answers(root)
    judged, made = replayed(wanted, saved, cache)
    if not judged:
        raise click.UsageError("No saved answers to these stories.")
    story_report.show(console, "model", judged)
    others = of_other_prompts({name: saved[name] for name in made}, PROMPT_VERSION)
    modes = [d.mode for d in made.values()]
    console.print(
        f"{len(judged)} saved answers: {modes.count('llm')} used, {modes.count('fast_path')} answered by the fast path before, "
        f"{len(judged) - modes.count('llm') - modes.count('fast_path')} refused; {len(others)} were given to another version of "
        "the prompt."
    )
    if show_failures:
        story_report.show_failures(console, judged)


@main.command("fit")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="Folder of cached drives.")
def fit(cache: Path) -> None:
    """Fit the correction of confidences on the training stories, and print its parameters."""
    from evals.fit import IDENTITY, RIDGE, logistic, outcomes
    from evals.story_run import tell

    stories = {name: story for name, story in load_stories().items() if story.split == "train"}
    told = [(story, tell((name, story, cache))[1].diagnosis) for name, story in stories.items()]
    x, y = outcomes(told)
    weights = logistic(x, y, towards=IDENTITY, ridge=RIDGE)
    names = ("A", "B", "UNACCOUNTED", "ALONE")
    click.echo(f"{len(y)} named causes of {len(stories)} stories, {y.mean():.0%} right")
    click.echo("\n".join(f"{name}: Final = {weight:.2f}" for name, weight in zip(names, weights, strict=True)))


if __name__ == "__main__":
    try:
        main()
    except ArgusError as error:
        sys.exit(str(error))
