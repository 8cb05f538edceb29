-- When the period of retention of a closed case ends, in a column of its own, in place of the time
-- of closing. A row that was written without it is folded again from the first event.

TRUNCATE views.case_views;
DELETE FROM views.tracking WHERE projection = 'case_views';

ALTER TABLE views.case_views
    DROP COLUMN closed_at,
    ADD COLUMN retention_due timestamptz;
COMMENT ON COLUMN views.case_views.retention_due IS
    'When the period of retention ends, holds or no. NULL: open, or the viewer owes or has confirmed an erasure.';

CREATE INDEX case_views_retention ON views.case_views (slot, viewer, retention_due, case_id)
    WHERE retention_due IS NOT NULL;
