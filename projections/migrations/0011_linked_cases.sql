-- A case's state says with which cases it is linked or was merged. Rows that were written before lack
-- these: they are folded again from the first event.

TRUNCATE views.case_views, views.audit_trail, views.obligations;
DELETE FROM views.tracking WHERE projection IN ('case_views', 'audit_trail', 'obligations');
