"""The token ledger in PostgreSQL.

`argus.token_days` has a row for each day (UTC). A reservation locks it: concurrent ones wait for the row, and each sees
what those before it took, all vehicles together and its own. Nothing is decided on a value that was read earlier.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from argus_assets.adapters.postgres.database import Database
from argus_assets.diagnosis.budget import VEHICLE_SHARE, share_of_budget
from argus_assets.diagnosis.ports import OverBudget, Reservation, Usage
from argus_assets.drop.keys import parse_partition_key

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the class is in lower case


@dataclass(frozen=True, slots=True)
class TokenDay:
    """The tokens of one day.

    Attributes:
        reserved: Set aside for attempts that nobody has settled.
        calls: Attempts, failed ones included.
        cost_usd: Of the calls whose price is known.
        calls_without_price: Calls that took tokens at a price nobody knows.
    """

    day: date
    spent: int
    reserved: int
    limit: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    calls: int
    failed: int
    batches: int
    cost_usd: float
    calls_without_price: int

    @property
    def left(self) -> int:
        """Tokens that may still be reserved."""
        return max(0, self.limit - self.spent - self.reserved)


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt; what follows `reserved` is `None` until it is settled."""

    batch: str
    model: str
    priority: float
    reserved_at: datetime
    reserved: int
    settled_at: datetime | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    estimated: bool | None
    outcome: str | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Ever:
    """Sums over all days.

    Attributes:
        calls: Settled attempts by outcome.
        cost_usd: Of the calls whose price is known.
    """

    spent: int
    calls: Mapping[str, int]
    cost_usd: float


def _taken_by_vehicle(cursor: "Cursor", day: date, batch: str) -> int:
    """Return the tokens of a day that were spent or reserved for the vehicle of a batch; 0 where it names none."""
    ref = parse_partition_key(batch)
    if ref is None:
        return 0
    # A vehicle's id has no underscore, so it is the second part of its batches' keys.
    cursor.execute(
        "SELECT coalesce(sum(CASE WHEN settled_at IS NULL THEN reserved ELSE prompt_tokens + completion_tokens END), 0) "
        "FROM argus.model_calls WHERE day = %s AND split_part(batch, '_', 2) = %s",
        (day, ref.vehicle_id),
    )
    row = cursor.fetchone()
    return 0 if row is None else int(row[0])


def _now() -> datetime:
    return datetime.now(UTC)


class PostgresLedger:
    """`ports.Ledger` in PostgreSQL.

    Args:
        database: Where it is kept.
        daily_tokens: Limit of a day; a change counts from the next reservation on.
        vehicle_share: Part of it that the batches of one vehicle may take.
        clock: The time, UTC.
    """

    def __init__(
        self,
        database: Database,
        *,
        daily_tokens: int,
        vehicle_share: float = VEHICLE_SHARE,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._database = database
        self._limit = daily_tokens
        self._vehicle_limit = int(daily_tokens * vehicle_share)
        self._clock = clock

    def reserve(self, tokens: int, *, batch: str, model: str, priority: float) -> Reservation:
        """Reserve tokens.

        Raises:
            OverBudget: They are not there for this priority.
            Unavailable: The database did not answer.
        """
        now = self._clock()
        reach = int(self._limit * share_of_budget(priority))
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO argus.token_days (day) VALUES (%s) ON CONFLICT DO NOTHING", (now.date(),))
            cursor.execute("SELECT spent, reserved FROM argus.token_days WHERE day = %s FOR UPDATE", (now.date(),))
            spent, reserved = cursor.fetchone() or (0, 0)
            if spent + reserved + tokens > reach:
                raise OverBudget(
                    f"The day's tokens do not allow this call: {tokens:,} are wanted, {spent:,} are spent and "
                    f"{reserved:,} set aside of {self._limit:,}, and a call of priority {priority:.2f} may bring them "
                    f"to {reach:,}. A new day begins at 00:00 UTC."
                )
            taken = _taken_by_vehicle(cursor, now.date(), batch)
            if taken and taken + tokens > self._vehicle_limit:
                raise OverBudget(
                    f"The day's tokens of one vehicle do not allow this call: {tokens:,} are wanted, {taken:,} are spent "
                    f"or set aside for drives of this vehicle, and it may have {self._vehicle_limit:,} of {self._limit:,}. "
                    "A new day begins at 00:00 UTC."
                )
            cursor.execute("UPDATE argus.token_days SET reserved = reserved + %s WHERE day = %s", (tokens, now.date()))
            cursor.execute(
                "INSERT INTO argus.model_calls (day, batch, model, priority, reserved, reserved_at) "
                "VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
                (now.date(), batch, model, priority, tokens, now),
            )
            row = cursor.fetchone()
            assert row is not None, "INSERT … RETURNING gives a row"
        return Reservation(row[0], tokens)

    def settle(self, reservation: Reservation, usage: Usage, *, outcome: str, cost_usd: float | None) -> None:
        """Replace a reservation by what was spent, on the day of the reservation; harmless when repeated.

        Raises:
            Unavailable: The database did not answer; the reservation stays.
        """
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE argus.model_calls SET settled_at = %s, prompt_tokens = %s, completion_tokens = %s, "
                "cached_tokens = %s, estimated = %s, outcome = %s, cost_usd = %s "
                "WHERE id = %s AND settled_at IS NULL RETURNING day, reserved",
                (
                    self._clock(), usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.estimated,
                    outcome, cost_usd, reservation.id,
                ),
            )  # fmt: skip
            row = cursor.fetchone()
            if row is None:
                return
            cursor.execute(
                "UPDATE argus.token_days SET reserved = reserved - %s, spent = spent + %s WHERE day = %s",
                (row[1], usage.total, row[0]),
            )

    def today(self) -> TokenDay:
        """Return the tokens of this day, all zero before the first call."""
        day = self._clock().date()
        found = self.days(last=1)
        if found and found[0].day == day:
            return found[0]
        return TokenDay(day, 0, 0, self._limit, 0, 0, 0, 0, 0, 0, 0.0, 0)

    def days(self, *, last: int) -> Sequence[TokenDay]:
        """Return the last days on which there were calls, newest first."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT d.day, d.spent, d.reserved, coalesce(sum(c.prompt_tokens), 0), coalesce(sum(c.completion_tokens), 0),
                       coalesce(sum(c.cached_tokens), 0), count(c.id),
                       count(c.id) FILTER (WHERE c.settled_at IS NOT NULL AND c.outcome <> 'answered'),
                       count(DISTINCT c.batch), coalesce(sum(c.cost_usd), 0),
                       count(c.id) FILTER (
                           WHERE c.settled_at IS NOT NULL AND c.cost_usd IS NULL AND c.prompt_tokens + c.completion_tokens > 0
                       )
                FROM (SELECT * FROM argus.token_days ORDER BY day DESC LIMIT %s) d
                LEFT JOIN argus.model_calls c USING (day)
                GROUP BY d.day, d.spent, d.reserved ORDER BY d.day DESC
                """,
                (last,),
            )
            rows = cursor.fetchall()
        return [
            TokenDay(
                day, spent, reserved, self._limit, int(prompt), int(completion), int(cached), calls, failed, batches,
                float(cost), unknown,
            )
            for day, spent, reserved, prompt, completion, cached, calls, failed, batches, cost, unknown in rows
        ]  # fmt: skip

    def ever(self) -> Ever:
        """Return sums over all days: they only grow.

        Raises:
            Unavailable: The database did not answer.
        """
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(sum(spent), 0) FROM argus.token_days")
            spent = cursor.fetchone() or (0,)
            cursor.execute(
                "SELECT outcome, count(*), coalesce(sum(cost_usd), 0) FROM argus.model_calls "
                "WHERE settled_at IS NOT NULL GROUP BY outcome"
            )
            rows = cursor.fetchall()
        return Ever(
            int(spent[0]), {str(outcome): int(n) for outcome, n, _ in rows}, float(sum(cost for _, _, cost in rows))
        )

    def calls_of(self, batch: str) -> Sequence[Call]:
        """Return all attempts for a batch, oldest first."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT batch, model, priority, reserved_at, reserved, settled_at, prompt_tokens, completion_tokens, "
                "cached_tokens, estimated, outcome, cost_usd FROM argus.model_calls WHERE batch = %s ORDER BY id",
                (batch,),
            )
            return [Call(*row) for row in cursor.fetchall()]
