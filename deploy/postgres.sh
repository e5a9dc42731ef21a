#!/bin/sh
# At the first start of the database: a user for Laneway and one for the schema registry, each
# with a database of its own. Laneway's user is no superuser, so that row-level security binds it;
# it makes the roles that the migrations grant to.
set -eu

psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres \
    -v laneway="$LANEWAY_DB_PASSWORD" -v registry="$REGISTRY_DB_PASSWORD" <<'SQL'
CREATE ROLE laneway LOGIN NOSUPERUSER CREATEROLE PASSWORD :'laneway';
CREATE DATABASE laneway OWNER laneway;
CREATE ROLE registry LOGIN NOSUPERUSER PASSWORD :'registry';
CREATE DATABASE registry OWNER registry;
SQL
