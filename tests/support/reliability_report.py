"""The table of docs/reliability.md: what was tried, and what happened."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
START, END = "<!-- scenarios: written by make test-reliability -->", "<!-- end of scenarios -->"
COLUMNS = ("Fault", "When", "Batches", "What happened", "Outcomes after (s)", "Tried again", "Tables equal")


@dataclass
class Row:
    """One scenario.

    Attributes:
        number: Where it stands in the table.
        happened: What was seen.
        recovered_s: Seconds from the end of the fault until every batch had its outcome.
        retries: Runs that Dagster started again, batches that had to be dropped again.
    """

    number: int
    fault: str
    when: str
    batches: int = 0
    happened: str = ""
    recovered_s: float | None = None
    retries: str = "no"
    equal: str = "yes"

    def cells(self) -> tuple[str, ...]:
        seconds = "" if self.recovered_s is None else f"{self.recovered_s:.0f}"
        return (self.fault, self.when, f"{self.batches:,}", self.happened, seconds, self.retries, self.equal)


@dataclass
class Report:
    """The rows of a session; a row whose scenario failed is not among them."""

    rows: list[Row] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @contextmanager
    def scenario(self, number: int, fault: str, when: str) -> Iterator[Row]:
        """A row that counts when the block ends well."""
        row = Row(number, fault, when)
        yield row
        self.rows.append(row)

    def write(self) -> None:
        """Put the rows into the page, in the place of those of the same number."""
        if not self.rows:
            return
        text = PAGE.read_text("utf-8")
        before, _, rest = text.partition(START)
        old, _, after = rest.partition(END)
        lines = {int(m[1]): m[0] for m in re.finditer(r"^\| (\d+) \|.*$", old, re.MULTILINE)}
        lines |= {row.number: f"| {row.number} | {' | '.join(row.cells())} |" for row in self.rows}
        head = [f"| | {' | '.join(COLUMNS)} |", "|" + "---|" * (len(COLUMNS) + 1)]
        table = "\n".join([*head, *(lines[number] for number in sorted(lines))])
        PAGE.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", "utf-8")


def happened(parts: Sequence[str]) -> str:
    """What was seen, as one cell."""
    return "; ".join(part for part in parts if part).replace("|", "/").replace("\n", " ")


FULL_VARIABLE = "ARGUS_TEST_RELIABILITY"
IS_FULL = os.environ.get(FULL_VARIABLE) == "full"
