#!/bin/sh
# Gives the program its database password from a file, so that no one reads it in the
# container's description or on a command line.
set -eu

if [ -n "${CASE_LEDGER_PASSWORD_FILE:-}" ]; then
    PGPASSWORD="$(cat "$CASE_LEDGER_PASSWORD_FILE")"
    export PGPASSWORD
    unset CASE_LEDGER_PASSWORD_FILE
fi
exec "$@"
