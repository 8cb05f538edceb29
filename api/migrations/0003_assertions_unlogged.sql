-- Used assertions need not wait for the disk: a crash of the database empties this table, and that
-- it did so shows in `uncrashed`, which it empties too. What was used before is then refused by when
-- it was issued: no assertion was accepted that was issued after `issued_until`, which is durable.

ALTER TABLE access.used_assertions SET UNLOGGED;

CREATE UNLOGGED TABLE access.uncrashed (
    one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one)
);
COMMENT ON TABLE access.uncrashed IS 'Its row is there as long as used_assertions is complete.';

CREATE TABLE access.assertions (
    one           boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    issued_until  timestamptz NOT NULL,
    refused_until timestamptz NOT NULL CHECK (refused_until <= issued_until)
);
COMMENT ON COLUMN access.assertions.issued_until IS
    'None that was issued after this was ever accepted.';
COMMENT ON COLUMN access.assertions.refused_until IS
    'None that was issued up to this is accepted: it may have been used before a crash.';
INSERT INTO access.assertions (issued_until, refused_until) VALUES ('epoch', 'epoch');

GRANT SELECT, INSERT ON access.uncrashed TO case_ledger_app;
GRANT SELECT, UPDATE ON access.assertions TO case_ledger_app;
