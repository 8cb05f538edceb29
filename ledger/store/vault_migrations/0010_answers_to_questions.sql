-- An answer counts only for a question that was asked: whoever carries parcels could else give an
-- earlier answer once more.
ALTER TABLE {schema}.asked ADD COLUMN asks uuid[] NOT NULL DEFAULT '{{}}';
COMMENT ON COLUMN {schema}.asked.asks IS 'The ids of the last questions. An answer repeats one.';
