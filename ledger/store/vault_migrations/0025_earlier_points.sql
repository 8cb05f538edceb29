-- The points of a case before its identity was stated anew: another country's answer to them may
-- still be on its way, and is no fault of that country.
ALTER TABLE {schema}.match_cases ADD COLUMN earlier bytea[];
COMMENT ON COLUMN {schema}.match_cases.earlier IS 'The last sets of points that were replaced, one after the other.';
