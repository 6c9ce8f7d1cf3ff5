-- Tokens of a day. `spent` is what was settled, `reserved` what was set aside and not settled.
CREATE TABLE argus.token_days (
    day date PRIMARY KEY,
    spent bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0)
);

-- Every attempt at asking a language model. An attempt that nobody settled stays reserved: it may have been answered.
CREATE TABLE argus.model_calls (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day date NOT NULL REFERENCES argus.token_days (day),
    batch text NOT NULL,
    model text NOT NULL,
    priority double precision NOT NULL,
    reserved bigint NOT NULL CHECK (reserved >= 0),
    reserved_at timestamptz NOT NULL,
    settled_at timestamptz,
    prompt_tokens bigint,
    completion_tokens bigint,
    cached_tokens bigint,
    estimated boolean,
    outcome text,
    cost_usd double precision
);
CREATE INDEX model_calls_by_day ON argus.model_calls (day);
CREATE INDEX model_calls_by_batch ON argus.model_calls (batch);
