-- What the log signed, who cosigned it, and what was published. Nothing here is ever changed.

CREATE SCHEMA IF NOT EXISTS log;

CREATE TABLE log.signed (
    size      bigint      NOT NULL PRIMARY KEY CHECK (size > 0),
    root      bytea       NOT NULL CHECK (octet_length(root) = 32),
    note      text        NOT NULL,
    signed_at timestamptz NOT NULL
);

CREATE TABLE log.cosignatures (
    size        bigint      NOT NULL REFERENCES log.signed (size),
    witness     text        NOT NULL,
    line        text        NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (witness, size)
);

CREATE TABLE log.published (
    size         bigint      NOT NULL PRIMARY KEY REFERENCES log.signed (size),
    note         text        NOT NULL,
    published_at timestamptz NOT NULL
);

REVOKE ALL ON SCHEMA log FROM PUBLIC;
GRANT USAGE ON SCHEMA log TO case_ledger_app;
GRANT SELECT, INSERT ON log.signed, log.cosignatures, log.published TO case_ledger_app;
