-- What the list of cases is filtered by. Rows that were written before are folded again from the first event.

TRUNCATE views.case_views;
DELETE FROM views.tracking WHERE projection = 'case_views';

ALTER TABLE views.case_views
    ADD COLUMN opened_at timestamptz NOT NULL,
    ADD COLUMN age_group text NOT NULL,
    ADD COLUMN parties text[] NOT NULL,
    ADD COLUMN our_steps text[] NOT NULL;
COMMENT ON COLUMN views.case_views.our_steps IS
    'The kinds of actions that the viewer''s agencies are expected to take next.';
CREATE INDEX case_views_opened_at ON views.case_views (slot, viewer, opened_at);
-- By the newest recorded action.
CREATE INDEX case_views_latest ON views.case_views (slot, viewer, position DESC);
