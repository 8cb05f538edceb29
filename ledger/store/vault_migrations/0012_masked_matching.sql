-- Cases are compared by points that both countries masked, and then by evidence of each pair.

ALTER TABLE {schema}.match_cases ADD COLUMN points bytea[], ADD COLUMN kinds text[];
COMMENT ON COLUMN {schema}.match_cases.points IS 'Under the own mask, in the order in which they are sent.';
COMMENT ON COLUMN {schema}.match_cases.kinds IS 'Of each point; empty for a random one that only fills up.';

ALTER TABLE {schema}.match_received
    ADD COLUMN points bytea[],
    ADD COLUMN mask text, ADD COLUMN doubled_with text,
    ADD COLUMN answer_due boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN {schema}.match_received.mask IS 'The other country''s, under which the points came.';
COMMENT ON COLUMN {schema}.match_received.doubled_with IS 'The own mask of the tokens of this case.';
CREATE INDEX match_received_due ON {schema}.match_received (other) WHERE answer_due;

-- Tokens of the earlier comparison mean nothing any more.
DELETE FROM {schema}.match_tokens;
DELETE FROM {schema}.match_received_tokens;
UPDATE {schema}.match_cases SET computed_with = NULL, due = (withdrawn_at IS NOT NULL AND due);

-- Every case is looked at again: cases of one country are compared with each other now.
UPDATE {schema}.progress SET position = 0 WHERE work = 'match';

-- Pairs of cases with a token in common, whose evidence is to be compared.
CREATE TABLE {schema}.match_candidates (
    other           text        NOT NULL,
    reference       uuid        NOT NULL,
    other_reference uuid        NOT NULL,
    points          bytea[],
    doubled         bytea[],
    theirs          bytea[],
    asked_at        timestamptz,
    pair            uuid        NOT NULL,
    done            boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (other, reference, other_reference)
);
COMMENT ON COLUMN {schema}.match_candidates.pair IS 'The id that a match of the two would have.';
COMMENT ON COLUMN {schema}.match_candidates.points IS 'The own evidence that was sent, under the own mask.';
COMMENT ON COLUMN {schema}.match_candidates.doubled IS 'The same, under both masks, as it was answered.';
COMMENT ON COLUMN {schema}.match_candidates.theirs IS 'The other case''s evidence, under its country''s mask.';
CREATE INDEX match_candidates_by_pair ON {schema}.match_candidates (pair);
CREATE INDEX match_candidates_open ON {schema}.match_candidates (other) WHERE NOT done;

-- Evidence that another country asked for.
CREATE TABLE {schema}.match_asked (
    other           text    NOT NULL,
    reference       uuid    NOT NULL,
    other_reference uuid    NOT NULL,
    pair            uuid    NOT NULL,
    points          bytea[] NOT NULL,
    answer_due      boolean NOT NULL DEFAULT true,
    PRIMARY KEY (other, reference, other_reference)
);
CREATE INDEX match_asked_by_pair ON {schema}.match_asked (pair);
CREATE INDEX match_asked_due ON {schema}.match_asked (other) WHERE answer_due;

-- The cases that each other country opened, which bound how many it may name.
CREATE TABLE {schema}.match_foreign_cases (
    case_id uuid NOT NULL PRIMARY KEY,
    other   text NOT NULL
);
CREATE INDEX match_foreign_cases_by_country ON {schema}.match_foreign_cases (other);

ALTER TABLE {schema}.duplicates ADD COLUMN strength smallint;
COMMENT ON COLUMN {schema}.duplicates.strength IS 'Of 100; empty where an earlier program found the match.';

GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.match_candidates TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.match_asked TO {role};
GRANT SELECT, INSERT ON {schema}.match_foreign_cases TO {role};
