-- The head is where the events are, whoever moved it: checked when a transaction commits.

CREATE FUNCTION ledger.refuse_strayed_head() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    last_position bigint := (SELECT COALESCE(max(notification_id), 0) FROM ledger.events);
BEGIN
    IF (SELECT position FROM ledger.head) <> last_position THEN
        RAISE EXCEPTION 'the head of the ledger is not at its last event'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER head_is_at_the_last_event AFTER UPDATE ON ledger.head
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_strayed_head();
