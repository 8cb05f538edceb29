-- Which shelter has a person, and when and to whom a person returns, is no longer in a case's state:
-- these are fields of the case level. Rows that were written before have them. They are folded again
-- from the first event.

TRUNCATE views.case_views, views.audit_trail;
DELETE FROM views.tracking WHERE projection IN ('case_views', 'audit_trail');
