-- What one country's node sends another through the ledger node, which cannot open it.

CREATE SCHEMA mailbox;

CREATE TABLE mailbox.parcels (
    seq         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid        NOT NULL UNIQUE,
    sender      text        NOT NULL,
    recipient   text        NOT NULL CHECK (recipient <> sender),
    sealed      bytea       NOT NULL CHECK (octet_length(sealed) <= 1048576),
    received_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN mailbox.parcels.sealed IS 'HPKE (RFC 9180) to the recipient''s country key.';
CREATE INDEX parcels_by_recipient ON mailbox.parcels (recipient, seq);

REVOKE ALL ON SCHEMA mailbox FROM PUBLIC;
GRANT USAGE ON SCHEMA mailbox TO case_ledger_app;
GRANT SELECT, INSERT, DELETE ON mailbox.parcels TO case_ledger_app;
