-- The access method and its operator classes. None is the default: which distance an index is for must be said.

CREATE ACCESS METHOD conifer TYPE INDEX HANDLER conifer_handler;
COMMENT ON ACCESS METHOD conifer IS 'vector index: codes of one bit a dimension, maintained by VACUUM';
COMMENT ON FUNCTION conifer_handler(internal) IS 'index access method conifer';

CREATE OPERATOR CLASS vector_l2_ops
    FOR TYPE vector USING conifer AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY pg_catalog.float_ops;
CREATE OPERATOR CLASS vector_ip_ops
    FOR TYPE vector USING conifer AS
    OPERATOR 1 <#> (vector, vector) FOR ORDER BY pg_catalog.float_ops;
CREATE OPERATOR CLASS vector_cosine_ops
    FOR TYPE vector USING conifer AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY pg_catalog.float_ops;
COMMENT ON OPERATOR CLASS vector_l2_ops USING conifer IS 'Euclidean distance';
COMMENT ON OPERATOR CLASS vector_ip_ops USING conifer IS 'negative inner product';
COMMENT ON OPERATOR CLASS vector_cosine_ops USING conifer IS 'cosine distance';
