-- Many rows that come at once leave the planner without statistics until PostgreSQL looks by itself, a minute
-- later. Lists that join two views take seconds then. Only the owner of a table may renew its statistics, so
-- this function does it for the projector: of the views' own tables, and nothing else.

CREATE FUNCTION views.renew_statistics(of_table text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found regclass := (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'views' AND c.relkind = 'r' AND c.relname = of_table);
BEGIN
    IF found IS NULL THEN
        RAISE EXCEPTION 'there is no table of views with this name'
            USING ERRCODE = 'undefined_table';
    END IF;
    EXECUTE format('ANALYZE %s', found);
END
$$;
REVOKE ALL ON FUNCTION views.renew_statistics(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION views.renew_statistics(text) TO case_ledger_projector;
