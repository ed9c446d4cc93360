-- Casts of the type vector.

-- Applies the type modifier: vector(n).
CREATE CAST (vector AS vector)
    WITH FUNCTION vector(vector, integer, boolean) AS IMPLICIT;

-- Arrays become vectors where one is stored, not silently in expressions.
CREATE CAST (integer[] AS vector)
    WITH FUNCTION array_to_vector(integer[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (real[] AS vector)
    WITH FUNCTION array_to_vector(real[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (double precision[] AS vector)
    WITH FUNCTION array_to_vector(double precision[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (numeric[] AS vector)
    WITH FUNCTION array_to_vector(numeric[], integer, boolean) AS ASSIGNMENT;

-- real[] holds the same numbers, and only one array type may be implicit or calls would be ambiguous.
CREATE CAST (vector AS real[])
    WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
CREATE CAST (vector AS double precision[])
    WITH FUNCTION vector_to_float8(vector) AS ASSIGNMENT;
CREATE CAST (vector AS integer[])
    WITH FUNCTION vector_to_int4(vector) AS ASSIGNMENT;
CREATE CAST (vector AS numeric[])
    WITH FUNCTION vector_to_numeric(vector) AS ASSIGNMENT;

COMMENT ON FUNCTION vector(vector, integer, boolean) IS 'implementation of the cast to vector(n)';
COMMENT ON FUNCTION array_to_vector(integer[], integer, boolean) IS 'implementation of the cast from integer[]';
COMMENT ON FUNCTION array_to_vector(real[], integer, boolean) IS 'implementation of the cast from real[]';
COMMENT ON FUNCTION array_to_vector(double precision[], integer, boolean) IS 'implementation of the cast from double precision[]';
COMMENT ON FUNCTION array_to_vector(numeric[], integer, boolean) IS 'implementation of the cast from numeric[]';
COMMENT ON FUNCTION vector_to_float4(vector, integer, boolean) IS 'implementation of the cast to real[]';
COMMENT ON FUNCTION vector_to_float8(vector) IS 'implementation of the cast to double precision[]';
COMMENT ON FUNCTION vector_to_int4(vector) IS 'implementation of the cast to integer[], to the nearest';
COMMENT ON FUNCTION vector_to_numeric(vector) IS 'implementation of the cast to numeric[]';
