-- Confirmed cases, and what their vectors were made with.

CREATE TABLE argus.idf_versions (
    version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    method text NOT NULL,          -- 'codes', or the name of an embedding model
    documents integer NOT NULL,    -- cases that were counted
    df jsonb NOT NULL,             -- feature -> cases that have it
    made_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE argus.cases (
    id text PRIMARY KEY,
    partition text,
    platform text NOT NULL,
    release text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    codes jsonb NOT NULL,          -- [[code, ecu, occurrences], ...], root first
    features text[] NOT NULL,      -- the codes and their components
    signature text NOT NULL,
    cause text NOT NULL,
    title text NOT NULL,
    fix text,
    note text,
    confirmed_at timestamptz NOT NULL,
    confirmed_by text,
    predicted_cause text,
    predicted_confidence double precision,
    predicted_mode text,
    vector vector(1536) NOT NULL,
    idf_version bigint NOT NULL REFERENCES argus.idf_versions
);

CREATE INDEX cases_features ON argus.cases USING gin (features);
-- Cases of one cause lie close together and far from all others, which a sparser graph loses (docs/benchmarks/diagnosis.md).
CREATE INDEX cases_vector ON argus.cases USING hnsw (vector vector_cosine_ops) WITH (m = 32, ef_construction = 200);
CREATE INDEX cases_release ON argus.cases (platform, release, confirmed_at);
CREATE INDEX cases_signature ON argus.cases (signature, platform);
CREATE INDEX cases_confirmed_at ON argus.cases (confirmed_at DESC, id);
