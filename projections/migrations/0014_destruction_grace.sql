-- A case's state names until when an ordered destruction can be stopped. Rows that were written
-- before lack it: they are folded again from the first event.

TRUNCATE views.case_views, views.audit_trail, views.obligations;
DELETE FROM views.tracking WHERE projection IN ('case_views', 'audit_trail', 'obligations');
