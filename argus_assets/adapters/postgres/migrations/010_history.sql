-- The faults of each drive, to compare later drives with. Made anew from the lake when it is lost.
CREATE TABLE argus.drives (
    partition text PRIMARY KEY,
    vehicle_id text NOT NULL,
    platform text NOT NULL,
    release text NOT NULL,
    recorded_from timestamptz NOT NULL,
    recorded_h double precision NOT NULL,
    manifest_digest text NOT NULL
);
CREATE INDEX drives_of_vehicle ON argus.drives (vehicle_id, recorded_from DESC, partition DESC);
CREATE INDEX drives_of_release ON argus.drives (platform, release, recorded_from);

CREATE TABLE argus.drive_faults (
    partition text NOT NULL REFERENCES argus.drives (partition) ON DELETE CASCADE,
    code text NOT NULL,
    ecu text NOT NULL,
    status text NOT NULL,
    severity text NOT NULL,
    occurrences bigint NOT NULL,
    PRIMARY KEY (partition, code, ecu)
);
CREATE INDEX drive_faults_by_code ON argus.drive_faults (code, ecu, partition);
