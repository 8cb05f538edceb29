-- What is asked of many cases, in columns of their own: in which order cases wait for whom, which
-- have something for the board or for a meeting, what each counts as in the figures, and since when
-- it is closed. A row that was written
-- without them could not be in its place: the view is folded again from the first event.

TRUNCATE views.case_views;
DELETE FROM views.tracking WHERE projection = 'case_views';

ALTER TABLE views.case_views
    ADD COLUMN next_due    timestamptz,
    ADD COLUMN waits_for   text[]        NOT NULL,
    ADD COLUMN waits_until timestamptz[] NOT NULL,
    ADD COLUMN counted_as  text          NOT NULL,
    ADD COLUMN has_request boolean       NOT NULL,
    ADD COLUMN has_basis   boolean       NOT NULL,
    ADD COLUMN has_danger  boolean       NOT NULL,
    ADD COLUMN shares_with text[]        NOT NULL,
    ADD COLUMN met_at      timestamptz,
    ADD COLUMN closed_at   timestamptz;
COMMENT ON COLUMN views.case_views.next_due IS
    'When the first step that may be the viewer''s is due; the year 9999: without a date. NULL: none.';
COMMENT ON COLUMN views.case_views.waits_for IS
    'Roles and agencies that may take such steps; waits_until has the first date for each.';
COMMENT ON COLUMN views.case_views.counted_as IS
    'All that figures distinguish, as JSON: cases with the same text are alike.';
COMMENT ON COLUMN views.case_views.shares_with IS
    'The other parties of a case that is open; of a closed one, none.';
COMMENT ON COLUMN views.case_views.met_at IS 'When teams met on it, by the last meeting recorded.';

-- The rest of a row is long: pages find their cases in the index alone, and then read only those.
CREATE INDEX case_views_due ON views.case_views
    (slot, viewer, next_due, (-opened_position))
    INCLUDE (opened_position, case_id, awaits_us, waits_for, waits_until);
CREATE INDEX case_views_awaiting ON views.case_views
    (slot, viewer, next_due, (-opened_position))
    INCLUDE (opened_position, case_id, awaits_us, waits_for, waits_until)
    WHERE awaits_us;
CREATE INDEX case_views_counted ON views.case_views (slot, viewer, counted_as);
CREATE INDEX case_views_requests ON views.case_views (slot, viewer, opened_position DESC)
    WHERE has_request;
CREATE INDEX case_views_bases ON views.case_views (slot, viewer, opened_position DESC)
    WHERE has_basis;
CREATE INDEX case_views_danger ON views.case_views (slot, viewer, opened_position DESC)
    WHERE has_danger;
CREATE INDEX case_views_shared ON views.case_views (slot, viewer, opened_position)
    INCLUDE (case_id, shares_with, priority, next_due, met_at) WHERE shares_with <> '{}';
CREATE INDEX case_views_closed ON views.case_views (slot, viewer, closed_at, case_id)
    WHERE closed_at IS NOT NULL;
CREATE INDEX case_views_met ON views.case_views (slot, viewer, met_at) WHERE met_at IS NOT NULL;

CREATE INDEX obligations_owed ON views.obligations (slot, debtor, due, id) INCLUDE (case_id)
    WHERE state = 'open';
