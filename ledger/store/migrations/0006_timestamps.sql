-- What authorities outside certified of published checkpoints (RFC 3161). Nothing here is ever
-- changed.

CREATE TABLE log.timestamps (
    size        bigint      NOT NULL REFERENCES log.published (size),
    authority   text        NOT NULL,
    token       bytea       NOT NULL,
    moment      timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (size, authority)
);
COMMENT ON COLUMN log.timestamps.token IS
    'The authority''s whole answer (TimeStampResp, DER), over the SHA-256 of the note''s text.';

CREATE TRIGGER timestamps_never_change BEFORE UPDATE OR DELETE ON log.timestamps
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER timestamps_never_truncated BEFORE TRUNCATE ON log.timestamps
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

GRANT SELECT, INSERT ON log.timestamps TO case_ledger_app;
