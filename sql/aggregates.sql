-- Aggregates over vectors.

CREATE AGGREGATE avg(vector) (
    SFUNC = vector_accum,
    STYPE = double precision[],
    FINALFUNC = vector_avg,
    COMBINEFUNC = vector_combine,
    INITCOND = '{0}',
    PARALLEL = SAFE
);

CREATE AGGREGATE sum(vector) (
    SFUNC = vector_add,
    STYPE = vector,
    COMBINEFUNC = vector_add,
    PARALLEL = SAFE
);

COMMENT ON AGGREGATE avg(vector) IS 'average of vectors, element by element';
COMMENT ON AGGREGATE sum(vector) IS 'sum of vectors, element by element';
COMMENT ON FUNCTION vector_accum(double precision[], vector) IS 'transition function of avg(vector)';
COMMENT ON FUNCTION vector_combine(double precision[], double precision[]) IS 'combine function of avg(vector)';
COMMENT ON FUNCTION vector_avg(double precision[]) IS 'final function of avg(vector)';
