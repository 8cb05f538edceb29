-- The reference of a case, as people say it, to find the case by it. Rows that were written before are folded
-- again from the first event.

TRUNCATE views.case_views;
DELETE FROM views.tracking WHERE projection = 'case_views';

ALTER TABLE views.case_views ADD COLUMN reference text NOT NULL;
CREATE INDEX case_views_reference ON views.case_views (slot, viewer, reference);
