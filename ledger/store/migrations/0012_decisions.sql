-- The decisions that the ledger node signed, and those of them that the ledger contradicts.

ALTER TABLE outbox.actions
    ADD COLUMN decision      text,
    ADD COLUMN decision_size bigint,
    ADD COLUMN is_receipt    boolean NOT NULL DEFAULT false,
    ADD COLUMN is_checked    boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT decision_of_a_size CHECK ((decision IS NULL) = (decision_size IS NULL));
COMMENT ON COLUMN outbox.actions.decision IS
    'The last decision on the action that a log key signed: a JWS, as api.md describes it.';
COMMENT ON COLUMN outbox.actions.decision_size IS
    'How many events this node must have copied to hold the decision against them.';
COMMENT ON COLUMN outbox.actions.is_receipt IS 'Whether the decision is a receipt.';
COMMENT ON COLUMN outbox.actions.is_checked IS
    'Whether the decision was held against this node''s own copy of the ledger.';
CREATE INDEX actions_unchecked ON outbox.actions (decision_size)
    WHERE decision IS NOT NULL AND NOT is_checked;

CREATE TABLE log.false_decisions (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    found_at    timestamptz NOT NULL,
    action_id   uuid        NOT NULL,
    sd_jwt      text        NOT NULL CHECK (sd_jwt LIKE '%~' AND sd_jwt NOT LIKE '%~%~'),
    decision    text        NOT NULL,
    what        text        NOT NULL,
    settled_at  timestamptz,
    settled_why text        CHECK ((settled_at IS NULL) = (settled_why IS NULL)),
    UNIQUE (decision, what)
);
COMMENT ON TABLE log.false_decisions IS
    'Decisions that the log key signed and that the events of the ledger contradict: evidence.';
CREATE TRIGGER false_decisions_never_truncated BEFORE TRUNCATE ON log.false_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
GRANT SELECT, INSERT ON log.false_decisions TO case_ledger_app;
GRANT UPDATE (settled_at, settled_why) ON log.false_decisions TO case_ledger_app;
