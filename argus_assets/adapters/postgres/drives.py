"""The memory of drives in PostgreSQL."""

from typing import Final

from argus_assets.adapters.postgres.database import Database
from argus_assets.diagnosis.model import History, ItemHistory
from argus_assets.diagnosis.ports import DriveFacts, Past
from argus_assets.diagnosis.releases import previous_release

# Earlier: recorded before, in the window. Of drives recorded at the same moment, the lower key is the earlier.
_EARLIER: Final = """
    (d.recorded_from, d.partition) < (%(at)s, %(partition)s)
    AND d.recorded_from >= %(at)s - make_interval(days => %(window)s)
"""

_COUNTS: Final = f"""
SELECT count(*) FILTER (WHERE d.vehicle_id = %(vehicle)s),
       count(*) FILTER (WHERE d.vehicle_id <> %(vehicle)s AND d.platform = %(platform)s AND d.release = %(release)s),
       count(*) FILTER (WHERE d.vehicle_id <> %(vehicle)s AND d.platform = %(platform)s AND d.release = %(before)s)
FROM argus.drives d WHERE {_EARLIER}
  AND (d.vehicle_id = %(vehicle)s OR (d.platform = %(platform)s AND d.release = ANY(%(releases)s)))
"""  # noqa: S608 - our own texts

_LAST: Final = f"""
SELECT d.partition FROM argus.drives d WHERE d.vehicle_id = %(vehicle)s AND {_EARLIER}
ORDER BY d.recorded_from DESC, d.partition DESC LIMIT 1
"""  # noqa: S608

_FAULTS: Final = f"""
SELECT f.code, f.ecu,
       count(*) FILTER (WHERE d.vehicle_id = %(vehicle)s),
       max(d.recorded_from) FILTER (WHERE d.vehicle_id = %(vehicle)s),
       bool_or(d.partition = %(last)s),
       count(*) FILTER (WHERE d.vehicle_id <> %(vehicle)s AND d.platform = %(platform)s AND d.release = %(release)s),
       count(*) FILTER (WHERE d.vehicle_id <> %(vehicle)s AND d.platform = %(platform)s AND d.release = %(before)s),
       count(DISTINCT d.vehicle_id) FILTER (WHERE d.vehicle_id <> %(vehicle)s AND d.platform = %(platform)s)
FROM argus.drive_faults f JOIN argus.drives d USING (partition)
WHERE (f.code, f.ecu) IN (SELECT * FROM unnest(%(codes)s::text[], %(ecus)s::text[])) AND {_EARLIER}
GROUP BY f.code, f.ecu
"""  # noqa: S608

_RELEASES: Final = f"""
WITH RECURSIVE seen AS (
    (SELECT release FROM argus.drives WHERE platform = %(platform)s ORDER BY release LIMIT 1)
    UNION ALL
    SELECT (SELECT release FROM argus.drives WHERE platform = %(platform)s AND release > seen.release
            ORDER BY release LIMIT 1) FROM seen WHERE seen.release IS NOT NULL
)
SELECT release FROM seen WHERE release IS NOT NULL AND EXISTS (
    SELECT FROM argus.drives d WHERE d.platform = %(platform)s AND d.release = seen.release AND {_EARLIER}
)
"""  # noqa: S608


class PostgresDriveMemory:
    """`ports.DriveMemory` in the tables `argus.drives` and `argus.drive_faults`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, drive: DriveFacts) -> None:
        """Store a drive; replace what was stored of the same partition."""
        from psycopg2.extras import execute_values

        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO argus.drives VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (partition) DO UPDATE SET "
                "vehicle_id = EXCLUDED.vehicle_id, platform = EXCLUDED.platform, release = EXCLUDED.release, "
                "recorded_from = EXCLUDED.recorded_from, recorded_h = EXCLUDED.recorded_h, "
                "manifest_digest = EXCLUDED.manifest_digest",
                (
                    drive.partition, drive.vehicle_id, drive.platform, drive.release, drive.recorded_from,
                    drive.recorded_h, drive.manifest_digest,
                ),
            )  # fmt: skip
            cursor.execute("DELETE FROM argus.drive_faults WHERE partition = %s", (drive.partition,))
            execute_values(
                cursor,
                "INSERT INTO argus.drive_faults VALUES %s ON CONFLICT DO NOTHING",
                [(drive.partition, *fault) for fault in drive.faults],
            )

    def forget(self, partition: str) -> None:
        """Delete a drive."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM argus.drives WHERE partition = %s", (partition,))

    def past(self, drive: DriveFacts, *, window_days: int = 90) -> Past:
        """Return what was known before this drive: of drives that were recorded earlier, in the window."""
        wanted = {
            "at": drive.recorded_from,
            "partition": drive.partition,
            "window": window_days,
            "vehicle": drive.vehicle_id,
            "platform": drive.platform,
            "release": drive.release,
            "codes": [fault[0] for fault in drive.faults],
            "ecus": [fault[1] for fault in drive.faults],
        }
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(_RELEASES, wanted)
            before = previous_release(drive.release, [release for (release,) in cursor.fetchall()])
            wanted |= {"before": before, "releases": [r for r in (drive.release, before) if r is not None]}
            cursor.execute(_COUNTS, wanted)
            mine, same, earlier = cursor.fetchone() or (0, 0, 0)
            cursor.execute(_LAST, wanted)
            row = cursor.fetchone()
            cursor.execute(_FAULTS, wanted | {"last": row[0] if row else None})
            found = {(row[0], row[1]): row[2:] for row in cursor.fetchall()}
        items: dict[tuple[str, str], ItemHistory] = {}
        for code, ecu, *_ in drive.faults:
            count, last_at, in_last, with_same, with_earlier, vehicles = found.get(
                (code, ecu), (0, None, False, 0, 0, 0)
            )
            standing = None if not mine else "new" if not count else "recurring" if in_last else "back"
            items[code, ecu] = ItemHistory(
                vehicle=standing,
                vehicle_drives_with=count,
                days_since_last=None if last_at is None else (drive.recorded_from - last_at).total_seconds() / 86_400,
                release_drives_with=with_same,
                previous_release_drives_with=with_earlier,
                vehicles_with=vehicles,
            )
        return Past(
            History(
                window_days=window_days,
                vehicle_drives=mine,
                release_drives=same,
                previous_release=before,
                previous_release_drives=earlier,
            ),
            items,
        )
