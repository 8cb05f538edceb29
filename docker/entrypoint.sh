#!/bin/sh
# Gives the program its secrets from files, so that no one reads them in the container's
# description or on a command line.
set -eu

if [ -n "${CASE_LEDGER_PASSWORD_FILE:-}" ]; then
    PGPASSWORD="$(cat "$CASE_LEDGER_PASSWORD_FILE")"
    export PGPASSWORD
    unset CASE_LEDGER_PASSWORD_FILE
fi
if [ -n "${CASE_LEDGER_COUNTRY_KEY_PASSPHRASE_FILE:-}" ]; then
    CASE_LEDGER_COUNTRY_KEY_PASSPHRASE="$(cat "$CASE_LEDGER_COUNTRY_KEY_PASSPHRASE_FILE")"
    export CASE_LEDGER_COUNTRY_KEY_PASSPHRASE
    unset CASE_LEDGER_COUNTRY_KEY_PASSPHRASE_FILE
fi
if [ -n "${CASE_LEDGER_OIDC_CLIENT_SECRET_FILE:-}" ]; then
    CASE_LEDGER_OIDC_CLIENT_SECRET="$(cat "$CASE_LEDGER_OIDC_CLIENT_SECRET_FILE")"
    export CASE_LEDGER_OIDC_CLIENT_SECRET
    unset CASE_LEDGER_OIDC_CLIENT_SECRET_FILE
fi
exec "$@"
