-- The agencies that a case's actions let see it, where the protocol asks for a reason. Rows that were written
-- before are folded again from the first event.

TRUNCATE views.case_views;
DELETE FROM views.tracking WHERE projection = 'case_views';

ALTER TABLE views.case_views ADD COLUMN agencies text[] NOT NULL;
COMMENT ON COLUMN views.case_views.agencies IS
    'Agencies that acted in the case, were named in it or admitted to it, of the viewer.';
CREATE INDEX case_views_agencies ON views.case_views USING gin (agencies);
