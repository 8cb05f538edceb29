-- The ledger: one order of immutable events.
-- Column names up to notification_id are those of the eventsourcing library, whose
-- recorder reads them; notification_id is the position, topic the action's kind.

CREATE SCHEMA IF NOT EXISTS ledger;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'case_ledger_app') THEN
        CREATE ROLE case_ledger_app NOLOGIN;
    END IF;
END
$$;

CREATE TABLE ledger.events (
    notification_id    bigint      NOT NULL PRIMARY KEY CHECK (notification_id > 0),
    originator_id      uuid        NOT NULL,
    originator_version bigint      NOT NULL CHECK (originator_version > 0),
    topic              text        NOT NULL,
    state              bytea       NOT NULL,
    action_id          uuid        NOT NULL,
    recorded_at        timestamptz NOT NULL,
    leaf_hash          bytea       NOT NULL CHECK (octet_length(leaf_hash) = 32),
    CONSTRAINT events_case_version UNIQUE (originator_id, originator_version),
    CONSTRAINT events_action_id UNIQUE (action_id)
);
COMMENT ON COLUMN ledger.events.state IS
    'The exact event bytes: time of recording and the signed SD-JWT without disclosures.';
CREATE INDEX events_recorded_at ON ledger.events USING brin (recorded_at);

-- The head is the lock of the one order: whoever holds its row appends next.
CREATE TABLE ledger.head (
    one         boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    position    bigint      NOT NULL CHECK (position >= 0),
    recorded_at timestamptz NOT NULL
);
INSERT INTO ledger.head (position, recorded_at) VALUES (0, 'epoch');

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    owner name := (SELECT tableowner FROM pg_tables
                   WHERE schemaname = TG_TABLE_SCHEMA AND tablename = TG_TABLE_NAME);
BEGIN
    IF current_user <> owner THEN
        RAISE EXCEPTION '% on %.% is refused: recorded events are never changed',
            TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Answer a mistake with a correction.';
    END IF;
    RETURN COALESCE(NEW, OLD);
END
$$;

CREATE TRIGGER events_never_change BEFORE UPDATE OR DELETE ON ledger.events
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER events_never_truncated BEFORE TRUNCATE ON ledger.events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Gapless by the database's own check, whatever the application does.
CREATE FUNCTION ledger.refuse_gap() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    first_new bigint;
    last_new bigint;
    new_rows bigint;
    before_it bigint;
BEGIN
    SELECT min(notification_id), max(notification_id), count(*)
    INTO first_new, last_new, new_rows FROM inserted;
    IF new_rows = 0 THEN
        RETURN NULL;
    END IF;
    SELECT COALESCE(max(notification_id), 0) INTO before_it
    FROM ledger.events WHERE notification_id < first_new;
    IF before_it <> first_new - 1 OR last_new - first_new + 1 <> new_rows THEN
        RAISE EXCEPTION 'events must take the next positions: % to % cannot follow %',
            first_new, last_new, before_it
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER events_gapless AFTER INSERT ON ledger.events
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_gap();

CREATE FUNCTION ledger.refuse_rewind() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.position < OLD.position OR NEW.recorded_at < OLD.recorded_at THEN
        RAISE EXCEPTION 'the head of the ledger never goes back'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER head_never_rewinds BEFORE UPDATE ON ledger.head
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_rewind();

REVOKE ALL ON SCHEMA ledger FROM PUBLIC;
GRANT USAGE ON SCHEMA ledger TO case_ledger_app;
GRANT SELECT, INSERT ON ledger.events TO case_ledger_app;
GRANT SELECT, UPDATE ON ledger.head TO case_ledger_app;
