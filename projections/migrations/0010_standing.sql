-- A step that a case expects, and an obligation, say the authority of their deadline, and by when they are
-- expected where the protocol only assumes the deadline. Rows that were written before lack these: they
-- are folded again from the first event.

TRUNCATE views.case_views, views.obligations;
DELETE FROM views.tracking WHERE projection IN ('case_views', 'obligations');
