-- A case's state says since when a person counts as a child, in which quarter the child comes of age,
-- which requests to rectify wait for an answer, and which actions lack a child's safeguards. An
-- obligation says from when on its debtor is told of it. Rows that were written before lack these:
-- they are folded again from the first event.

TRUNCATE views.case_views, views.audit_trail, views.obligations;
DELETE FROM views.tracking WHERE projection IN ('case_views', 'audit_trail', 'obligations');
