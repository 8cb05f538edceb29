-- Rows that no step of a worker removed so far: the changes of members, and marks of what was read.

GRANT DELETE ON access.member_changes TO case_ledger_app;
