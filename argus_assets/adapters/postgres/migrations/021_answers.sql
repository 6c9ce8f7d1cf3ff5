-- Answers of language models that were found valid, by fault signature, prompt, model and knowledge base.
CREATE TABLE argus.answers (
    key text PRIMARY KEY,
    answer text NOT NULL,
    items jsonb NOT NULL,
    precedent text NOT NULL,
    model text NOT NULL,
    made_at timestamptz NOT NULL
);
