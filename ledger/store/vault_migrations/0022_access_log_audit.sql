-- The access log is audited across cases: newest first, by one filter along an index.
-- Entries of people and agencies' systems have indexes of their own, since a node's entries (comparison between
-- countries, search index) are many and rarely asked for.

CREATE INDEX readings_by_agency ON {schema}.readings (agency, seq);
CREATE INDEX readings_by_operation ON {schema}.readings (operation, seq);
CREATE INDEX readings_by_purpose ON {schema}.readings (substring(entry FROM '"purpose":"([a-z_]+)"'), seq)
    WHERE agency_role <> 'node';
CREATE INDEX readings_of_people ON {schema}.readings (seq) WHERE agency_role <> 'node';
CREATE INDEX readings_refused ON {schema}.readings (seq) WHERE NOT granted AND agency_role <> 'node';
CREATE INDEX readings_by_time ON {schema}.readings (recorded_at);
