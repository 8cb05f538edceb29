-- Assertions that were used: each is good for one request.

CREATE SCHEMA IF NOT EXISTS access;

CREATE TABLE access.used_assertions (
    agency     text        NOT NULL,
    jti        text        NOT NULL CHECK (length(jti) <= 64),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (agency, jti)
);
CREATE INDEX used_assertions_by_expiry ON access.used_assertions (expires_at);

REVOKE ALL ON SCHEMA access FROM PUBLIC;
GRANT USAGE ON SCHEMA access TO case_ledger_app;
GRANT SELECT, INSERT, DELETE ON access.used_assertions TO case_ledger_app;
