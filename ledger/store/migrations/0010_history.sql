-- What an operator decided after the database had been put back to an older copy. The same decision
-- is in the mark outside the database, which outlives another copy.

CREATE TABLE log.history_decisions (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at     timestamptz NOT NULL,
    decided_by     text        NOT NULL CHECK (decided_by <> ''),
    why            text        NOT NULL CHECK (why <> ''),
    seen_size      bigint      NOT NULL,
    reached_size   bigint      NOT NULL,
    reached_root   bytea       NOT NULL,
    from_size      bigint      NOT NULL,
    from_root      bytea       NOT NULL,
    witnesses      jsonb       NOT NULL
);
COMMENT ON COLUMN log.history_decisions.seen_size IS 'The most events that the node had seen.';
COMMENT ON COLUMN log.history_decisions.reached_size IS 'How far the ledger had come, by the mark.';
COMMENT ON COLUMN log.history_decisions.from_size IS 'What the node goes on from.';

CREATE TRIGGER history_decisions_never_change BEFORE UPDATE OR DELETE ON log.history_decisions
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER history_decisions_never_truncated BEFORE TRUNCATE ON log.history_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

GRANT SELECT, INSERT ON log.history_decisions TO case_ledger_app;
