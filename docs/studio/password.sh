#!/bin/sh
# The password of the role of role.sql, from the environment; run by the postgres image once.
set -eu
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v password="$MAI_DATABASE_PASSWORD" <<'SQL'
ALTER ROLE mai PASSWORD :'password';
SQL
