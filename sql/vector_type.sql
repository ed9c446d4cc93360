-- The type vector. Its functions are declared here, and not by pgrx, because they need the shell type
-- before the type is complete.

CREATE TYPE vector;

CREATE FUNCTION vector_in(cstring, oid, integer) RETURNS vector
    IMMUTABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', 'vector_in_wrapper';
COMMENT ON FUNCTION vector_in(cstring, oid, integer) IS 'vector from its text form';

CREATE FUNCTION vector_out(vector) RETURNS cstring
    IMMUTABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', 'vector_out_wrapper';
COMMENT ON FUNCTION vector_out(vector) IS 'text form of a vector';

CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer
    IMMUTABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', 'vector_typmod_in_wrapper';
COMMENT ON FUNCTION vector_typmod_in(cstring[]) IS 'type modifier of vector: its number of dimensions';

CREATE FUNCTION vector_recv(internal, oid, integer) RETURNS vector
    IMMUTABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', 'vector_recv_wrapper';
COMMENT ON FUNCTION vector_recv(internal, oid, integer) IS 'vector from its binary form';

CREATE FUNCTION vector_send(vector) RETURNS bytea
    IMMUTABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', 'vector_send_wrapper';
COMMENT ON FUNCTION vector_send(vector) IS 'binary form of a vector';

CREATE TYPE vector (
    INPUT = vector_in,
    OUTPUT = vector_out,
    TYPMOD_IN = vector_typmod_in,
    RECEIVE = vector_recv,
    SEND = vector_send,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE vector IS 'vector of 1 to 20000 single-precision numbers; vector(n) has n dimensions';
