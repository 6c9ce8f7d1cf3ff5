"""Saved answers in PostgreSQL."""

import json

from argus_assets.adapters.postgres.database import Database
from argus_assets.common.texts import json_document
from argus_assets.diagnosis.ports import SavedAnswer


class PostgresAnswerCache:
    """`ports.AnswerCache` in the table `argus.answers`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> SavedAnswer | None:
        """Return the saved answer, `None` without one."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT answer, items, precedent, model, made_at FROM argus.answers WHERE key = %s", (key,))
            row = cursor.fetchone()
        if row is None:
            return None
        answer, items, precedent, model, made_at = row
        return SavedAnswer(answer=answer, items=items, precedent=precedent, model=model, made_at=made_at)

    def put(self, key: str, answer: SavedAnswer) -> None:
        """Save one; the first that was saved for a key stays."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO argus.answers (key, answer, items, precedent, model, made_at) "
                "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (key) DO NOTHING",
                (
                    key,
                    answer.answer,
                    json.dumps(json_document(answer.items)),
                    answer.precedent,
                    answer.model,
                    answer.made_at,
                ),
            )

    def forget(self, key: str) -> bool:
        """Delete one; return true when there was one."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM argus.answers WHERE key = %s", (key,))
            return cursor.rowcount > 0
