-- Runs first, once; the other files find the extension in the public schema.
CREATE EXTENSION conifer;
