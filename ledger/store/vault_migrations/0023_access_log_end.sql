-- The access log ends from its beginning on: entries that are older than the operator's period, and on no person
-- of whom the vault still holds anything. The hash of the last removed entry stays, so that the rest still holds.

CREATE TABLE {schema}.readings_ended (
    seq      bigint      NOT NULL PRIMARY KEY CHECK (seq > 0),
    hash     bytea       NOT NULL CHECK (octet_length(hash) = 32),
    ended_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {schema}.readings_ended IS
    'Of each removal: the number and the hash of the last entry that was removed.';
CREATE TRIGGER readings_ended_never_change BEFORE UPDATE OR DELETE ON {schema}.readings_ended
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
GRANT SELECT ON {schema}.readings_ended TO {role};

-- As the owner of the tables: no role of the program may delete an entry. Whatever is asked for, no entry goes
-- before it is a year old, and the newest entry stays.
CREATE FUNCTION {schema}.end_readings(before timestamptz, upto bigint, most bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept    bigint;
    last    bigint;
    removed bigint;
BEGIN
    SELECT r.seq INTO kept FROM {schema}.readings r
        WHERE r.recorded_at >= least(before, now() - interval '365 days')
            OR r.case_id <> '00000000-0000-0000-0000-000000000000'
                AND EXISTS (SELECT FROM {schema}.disclosures d WHERE d.case_id = r.case_id)
        ORDER BY r.seq LIMIT 1;
    SELECT max(r.seq) INTO last FROM (
        SELECT seq FROM {schema}.readings
        WHERE seq < least(coalesce(kept, 9223372036854775807), upto + 1,
            (SELECT max(seq) FROM {schema}.readings))
        ORDER BY seq LIMIT most) r;
    IF last IS NULL THEN
        RETURN 0;
    END IF;
    INSERT INTO {schema}.readings_ended (seq, hash)
        SELECT seq, hash FROM {schema}.readings WHERE seq = last;
    DELETE FROM {schema}.readings WHERE seq <= last;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
REVOKE ALL ON FUNCTION {schema}.end_readings FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.end_readings TO {role};
