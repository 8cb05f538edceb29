-- What is owed in a case follows from the cases too that were joined with it by a merge. Rows that were written before
-- are folded again from the first event.

TRUNCATE views.obligations, views.case_views;
DELETE FROM views.tracking WHERE projection IN ('obligations', 'case_views');
