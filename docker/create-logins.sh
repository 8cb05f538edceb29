#!/bin/sh
# Runs once, when the database is made: three logins, none of them a superuser.
#   case_ledger_owner   owns the database and its tables; runs migrations
#   case_ledger_api     owns nothing; may take the roles that migrations grant it
#   case_ledger_backup  reads nothing by SQL; receives the write-ahead log and base backups
set -eu

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
    --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
    --set=database="$POSTGRES_DB" <<'SQL'
\set owner_password `cat "$CASE_LEDGER_OWNER_PASSWORD_FILE"`
\set api_password `cat "$CASE_LEDGER_API_PASSWORD_FILE"`
\set backup_password `cat "$CASE_LEDGER_BACKUP_PASSWORD_FILE"`
SET password_encryption = 'scram-sha-256';
SET log_statement = 'none';
CREATE ROLE case_ledger_owner LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE ROLE case_ledger_api LOGIN NOINHERIT PASSWORD :'api_password';
CREATE ROLE case_ledger_backup LOGIN REPLICATION NOINHERIT PASSWORD :'backup_password';
ALTER DATABASE :"database" OWNER TO case_ledger_owner;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO case_ledger_api;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- From the server's start after this script on: an event is acknowledged when the backup has it too.
ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (case_ledger_backup)';
SQL
echo 'host replication case_ledger_backup all scram-sha-256' >> "$PGDATA/pg_hba.conf"
