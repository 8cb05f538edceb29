-- People who are signed in, and those on their way to their provider. Both are known by the
-- SHA-256 of what their browser holds, so that nobody who reads these tables can take their place.

CREATE TABLE access.sessions (
    digest       bytea       PRIMARY KEY CHECK (length(digest) = 32),
    agency       text        NOT NULL,
    person       text        NOT NULL CHECK (length(person) = 43),
    expires_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL
);
CREATE INDEX sessions_by_expiry ON access.sessions (expires_at);

CREATE TABLE access.sign_ins (
    digest     bytea       PRIMARY KEY CHECK (length(digest) = 32),
    return_to  text        NOT NULL CHECK (length(return_to) <= 500),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sign_ins_by_expiry ON access.sign_ins (expires_at);

GRANT SELECT, INSERT, DELETE, UPDATE (last_seen_at) ON access.sessions TO case_ledger_app;
GRANT SELECT, INSERT, DELETE ON access.sign_ins TO case_ledger_app;
