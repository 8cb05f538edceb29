-- How much another country's node has caused here within a day, of what would else grow without end.
CREATE TABLE {schema}.daily_quotas (
    other      text        NOT NULL,
    what       text        NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    used       bigint      NOT NULL DEFAULT 0,
    refused_at timestamptz,
    PRIMARY KEY (other, what)
);
COMMENT ON COLUMN {schema}.daily_quotas.since IS 'When the day began in which so much was used.';
COMMENT ON COLUMN {schema}.daily_quotas.refused_at IS 'When more was asked last than the day has left.';
GRANT SELECT, INSERT, UPDATE ON {schema}.daily_quotas TO {role};
