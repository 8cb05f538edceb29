-- A proposal to close a case as opened in error is owed its answer. Rows that were written before are folded again from
-- the first event.

TRUNCATE views.obligations;
DELETE FROM views.tracking WHERE projection = 'obligations';
