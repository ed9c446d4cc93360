-- Casts to and from pgvector's vector, if it is installed already.

COMMENT ON FUNCTION conifer_install_pgvector_casts() IS
    'create the casts between the vector types of Conifer and pgvector; false if pgvector is not installed';

SELECT conifer_install_pgvector_casts();
