-- A copy that went on beyond the parties' decision to take over has a tail: events that the ledger
-- does not have. `case-ledger node rejoin` moves the tail out of the copy and keeps it here, with
-- what the old log signed of it. Only the owner of the tables writes here, and nothing is changed.

CREATE TABLE log.tails (
    decision       bigint NOT NULL PRIMARY KEY REFERENCES log.history_decisions (id),
    source         text   NOT NULL,
    common_size    bigint NOT NULL,
    decision_since bigint NOT NULL,
    ledger_note    text   NOT NULL
);
COMMENT ON COLUMN log.tails.decision IS
    'The operator''s decision: from_size is the last common checkpoint, seen_size the tail''s end.';
COMMENT ON COLUMN log.tails.common_size IS 'How many events the copy and the ledger begin with alike.';
COMMENT ON COLUMN log.tails.decision_since IS 'The position of the parties'' decision in the ledger.';
COMMENT ON COLUMN log.tails.ledger_note IS 'What the ledger''s log signed, by which it was verified.';

CREATE TABLE log.tail_events (
    decision           bigint      NOT NULL REFERENCES log.tails (decision),
    notification_id    bigint      NOT NULL,
    originator_id      uuid        NOT NULL,
    originator_version bigint      NOT NULL,
    topic              text        NOT NULL,
    state              bytea       NOT NULL,
    action_id          uuid        NOT NULL,
    recorded_at        timestamptz NOT NULL,
    leaf_hash          bytea       NOT NULL,
    PRIMARY KEY (decision, notification_id)
);
COMMENT ON TABLE log.tail_events IS 'The events of a tail, as they were in ledger.events.';

CREATE TABLE log.tail_records (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decision bigint NOT NULL REFERENCES log.tails (decision),
    place    text   NOT NULL,
    content  jsonb  NOT NULL
);
COMMENT ON TABLE log.tail_records IS
    'Rows of other tables about a tail: signed and published notes, cosignatures, receipts.';
COMMENT ON COLUMN log.tail_records.place IS 'The table that the row was in.';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tails', 'tail_events', 'tail_records'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE ON log.%I'
            ' FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change()', name || '_never_change', name);
        EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON log.%I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()',
            name || '_never_truncated', name);
    END LOOP;
END
$$;
GRANT SELECT ON log.tails, log.tail_events, log.tail_records TO case_ledger_app;

-- The head goes back in one case alone: the owner has recorded such a decision in this transaction.
CREATE OR REPLACE FUNCTION ledger.refuse_rewind() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.position < OLD.position OR NEW.recorded_at < OLD.recorded_at THEN
        IF current_user <> (SELECT tableowner FROM pg_tables
                            WHERE schemaname = 'ledger' AND tablename = 'events')
           OR NOT EXISTS (
               SELECT FROM log.tails t JOIN log.history_decisions d ON d.id = t.decision
               WHERE d.decided_at = now() AND d.seen_size = OLD.position
                 AND d.from_size = NEW.position) THEN
            RAISE EXCEPTION 'the head of the ledger never goes back'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
