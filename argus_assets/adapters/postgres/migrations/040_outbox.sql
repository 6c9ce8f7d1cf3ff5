-- Events for other systems: one row for each event and endpoint. Neither addresses nor secrets of endpoints stand here.
CREATE TABLE argus.outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL,
    endpoint text NOT NULL,
    type text NOT NULL,
    subject text NOT NULL,
    -- What has the same lane is delivered in the order of seq; NULL waits for nothing.
    lane text,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    delivered_at timestamptz,
    dead_at timestamptz,
    last_error text,
    UNIQUE (id, endpoint)
);
CREATE INDEX outbox_due ON argus.outbox (endpoint, (lane IS NOT NULL), next_attempt_at, seq)
    WHERE delivered_at IS NULL AND dead_at IS NULL;
CREATE INDEX outbox_lanes ON argus.outbox (endpoint, lane, seq) WHERE delivered_at IS NULL AND dead_at IS NULL;
CREATE INDEX outbox_dead ON argus.outbox (dead_at) WHERE dead_at IS NOT NULL;
CREATE INDEX outbox_delivered ON argus.outbox (delivered_at) WHERE delivered_at IS NOT NULL;

-- How far Dagster's event log was read.
CREATE TABLE argus.outbox_cursor (
    name text PRIMARY KEY,
    storage_id bigint NOT NULL
);

-- Endpoints that do not answer, or that said that they are gone.
CREATE TABLE argus.webhook_endpoints (
    endpoint text PRIMARY KEY,
    failures integer NOT NULL DEFAULT 0,
    paused_until timestamptz,
    disabled_at timestamptz,
    disabled_why text
);

-- Every manifest whose diagnosis the alert rules were asked about, so that no repetition alerts again.
CREATE TABLE argus.alerted_manifests (
    manifest_digest text NOT NULL,
    subject text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (manifest_digest, subject)
);

-- Every alert, those that a limit held back too. Its identity is the manifest, the rule and the code.
CREATE TABLE argus.alerts (
    manifest_digest text NOT NULL,
    rule text NOT NULL,
    code text NOT NULL,
    vehicle_id text NOT NULL,
    subject text NOT NULL,
    at timestamptz NOT NULL,
    held_back boolean NOT NULL,
    PRIMARY KEY (manifest_digest, rule, code, subject)
);
CREATE INDEX alerts_by_vehicle ON argus.alerts (rule, vehicle_id, code, at);
CREATE INDEX alerts_by_code ON argus.alerts (rule, code, at) WHERE NOT held_back;

-- Failures that may pass by themselves, since a manifest was taken: too many of them are one for good.
CREATE TABLE argus.failed_attempts (
    manifest_digest text NOT NULL,
    subject text NOT NULL,
    event_id text NOT NULL,
    crashed boolean NOT NULL,
    PRIMARY KEY (manifest_digest, subject, event_id)
);
