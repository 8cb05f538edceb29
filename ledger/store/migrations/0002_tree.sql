-- The RFC 6962 tree over the events: its frontier beside the head, and the roots of full
-- tiles (256 hashes of the level below), which is all that is not recomputed when asked for.

ALTER TABLE ledger.head ADD COLUMN frontier bytea NOT NULL DEFAULT '';

CREATE TABLE ledger.tree (
    level smallint NOT NULL CHECK (level BETWEEN 1 AND 7),
    index bigint   NOT NULL CHECK (index >= 0),
    hash  bytea    NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (level, index)
);
COMMENT ON TABLE ledger.tree IS
    'Hash `index` of tile level `level`: the root of the full tile below it.';

CREATE TRIGGER tree_never_changes BEFORE UPDATE OR DELETE ON ledger.tree
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER tree_never_truncated BEFORE TRUNCATE ON ledger.tree
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

GRANT SELECT, INSERT ON ledger.tree TO case_ledger_app;

-- Events that were recorded before there was a tree.
DO $$
DECLARE
    event record;
    made bytea;
    position bigint;
    height int;
    peaks bytea[] := '{}';
BEGIN
    FOR event IN SELECT notification_id, leaf_hash FROM ledger.events ORDER BY notification_id LOOP
        made := event.leaf_hash;
        position := event.notification_id - 1;
        height := 0;
        WHILE position % 2 = 1 LOOP
            made := sha256('\x01'::bytea || peaks[cardinality(peaks)] || made);
            peaks := trim_array(peaks, 1);
            position := position / 2;
            height := height + 1;
            IF height % 8 = 0 THEN
                INSERT INTO ledger.tree VALUES (height / 8, position, made);
            END IF;
        END LOOP;
        peaks := peaks || made;
    END LOOP;
    UPDATE ledger.head SET frontier = COALESCE(
        (SELECT string_agg(peak, '' ORDER BY place)
         FROM unnest(peaks) WITH ORDINALITY AS p (peak, place)), '');
END
$$;

ALTER TABLE ledger.head ADD CONSTRAINT head_frontier_fits
    CHECK (octet_length(frontier) = 32 * bit_count(position::bit(64)));
