-- What two countries compare to find that both opened a case on the same person: tokens, which are
-- HMACs under a key of the two. That key is not in this database. Only {role} is granted anything.

-- What was sent to each other country of the key of the two.
CREATE TABLE {schema}.match_pairs (
    other      text NOT NULL PRIMARY KEY,
    share_sent text,
    address    text
);
COMMENT ON COLUMN {schema}.match_pairs.address IS 'The country key that the last parcels went to.';

-- The country's own cases, under a reference that is random for each other country.
CREATE TABLE {schema}.match_cases (
    other         text        NOT NULL,
    reference     uuid        NOT NULL,
    case_id       uuid,
    computed_with text,
    known         boolean     NOT NULL DEFAULT false,
    due           boolean     NOT NULL DEFAULT false,
    withdrawn_at  timestamptz,
    PRIMARY KEY (other, reference),
    UNIQUE (other, case_id),
    CHECK ((case_id IS NULL) = (withdrawn_at IS NOT NULL))
);
COMMENT ON COLUMN {schema}.match_cases.case_id IS 'Empty once the person was erased.';
COMMENT ON COLUMN {schema}.match_cases.known IS 'The other country is party to the case.';
CREATE INDEX match_cases_due ON {schema}.match_cases (other) WHERE due;
CREATE INDEX match_cases_by_key ON {schema}.match_cases (other, computed_with)
    WHERE case_id IS NOT NULL;
CREATE INDEX match_cases_by_case ON {schema}.match_cases (case_id);

CREATE TABLE {schema}.match_tokens (
    other     text  NOT NULL,
    reference uuid  NOT NULL,
    token     bytea NOT NULL CHECK (octet_length(token) = 16),
    kind      text,
    PRIMARY KEY (other, reference, token)
);
COMMENT ON COLUMN {schema}.match_tokens.kind IS 'Empty for a random token that only fills up.';
CREATE INDEX match_tokens_by_token ON {schema}.match_tokens (other, token);

-- What the other countries sent of theirs.
CREATE TABLE {schema}.match_received (
    other     text    NOT NULL,
    reference uuid    NOT NULL,
    case_id   uuid,
    withdrawn boolean NOT NULL DEFAULT false,
    PRIMARY KEY (other, reference),
    CHECK (NOT withdrawn OR case_id IS NULL)
);
COMMENT ON COLUMN {schema}.match_received.case_id IS 'Where this country is party to the case.';
CREATE INDEX match_received_by_case ON {schema}.match_received (case_id);

CREATE TABLE {schema}.match_received_tokens (
    other     text  NOT NULL,
    reference uuid  NOT NULL,
    token     bytea NOT NULL CHECK (octet_length(token) = 16),
    PRIMARY KEY (other, reference, token)
);
CREATE INDEX match_received_tokens_by_token ON {schema}.match_received_tokens (other, token);

-- What was found, and what each country's coordinator found out about it.
CREATE TABLE {schema}.duplicates (
    id                uuid        NOT NULL PRIMARY KEY,
    other             text        NOT NULL,
    case_id           uuid        NOT NULL,
    reference         uuid        NOT NULL,
    other_reference   uuid        NOT NULL,
    agrees            text[]      NOT NULL,
    found_at          timestamptz NOT NULL,
    told              boolean     NOT NULL,
    finding           text,
    assessed_at       timestamptz,
    assessed_by       text,
    assessment_told   boolean     NOT NULL DEFAULT true,
    other_finding     text,
    other_assessed_at timestamptz,
    UNIQUE (other, reference, other_reference)
);
CREATE INDEX duplicates_by_case ON {schema}.duplicates (case_id);
CREATE INDEX duplicates_by_time ON {schema}.duplicates (found_at DESC, id);

GRANT SELECT, INSERT, UPDATE ON {schema}.match_pairs TO {role};
GRANT SELECT, INSERT, UPDATE ON {schema}.match_cases TO {role};
GRANT SELECT, INSERT, DELETE ON {schema}.match_tokens TO {role};
GRANT SELECT, INSERT, UPDATE ON {schema}.match_received TO {role};
GRANT SELECT, INSERT, DELETE ON {schema}.match_received_tokens TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.duplicates TO {role};
