-- The role that MAI Image logs in with: it owns one schema and needs nothing else.
-- Run once, as an administrator, in the database that the studio uses:
--   psql "postgresql://postgres@db.studio.lan/mai" -f role.sql
-- Then give it a password of its own: \password mai
CREATE ROLE mai LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE SCHEMA mai_image AUTHORIZATION mai;

-- Nobody else needs this database.
DO $$ BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO mai', current_database());
END $$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
