-- Operators of the type vector, its B-tree operator class, and what each function is for.

CREATE OPERATOR <-> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = l2_distance, COMMUTATOR = <->
);
CREATE OPERATOR <#> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_negative_inner_product, COMMUTATOR = <#>
);
CREATE OPERATOR <=> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine_distance, COMMUTATOR = <=>
);
CREATE OPERATOR <+> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = l1_distance, COMMUTATOR = <+>
);

CREATE OPERATOR + (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_add, COMMUTATOR = +
);
CREATE OPERATOR - (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_sub
);
CREATE OPERATOR * (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_mul, COMMUTATOR = *
);
CREATE OPERATOR || (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_concat
);

CREATE OPERATOR < (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_lt,
    COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR <= (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_le,
    COMMUTATOR = >=, NEGATOR = >, RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR = (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_eq,
    COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel
);
CREATE OPERATOR <> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ne,
    COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR >= (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ge,
    COMMUTATOR = <=, NEGATOR = <, RESTRICT = scalargesel, JOIN = scalargejoinsel
);
CREATE OPERATOR > (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_gt,
    COMMUTATOR = <, NEGATOR = <=, RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

CREATE OPERATOR CLASS vector_ops DEFAULT FOR TYPE vector USING btree AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 vector_cmp(vector, vector);

COMMENT ON OPERATOR <-> (vector, vector) IS 'Euclidean distance';
COMMENT ON OPERATOR <#> (vector, vector) IS 'negative inner product';
COMMENT ON OPERATOR <=> (vector, vector) IS 'cosine distance';
COMMENT ON OPERATOR <+> (vector, vector) IS 'taxicab distance';
COMMENT ON OPERATOR + (vector, vector) IS 'sum, element by element';
COMMENT ON OPERATOR - (vector, vector) IS 'difference, element by element';
COMMENT ON OPERATOR * (vector, vector) IS 'product, element by element';
COMMENT ON OPERATOR || (vector, vector) IS 'concatenation';
COMMENT ON OPERATOR < (vector, vector) IS 'less than';
COMMENT ON OPERATOR <= (vector, vector) IS 'less than or equal';
COMMENT ON OPERATOR = (vector, vector) IS 'equal';
COMMENT ON OPERATOR <> (vector, vector) IS 'not equal';
COMMENT ON OPERATOR >= (vector, vector) IS 'greater than or equal';
COMMENT ON OPERATOR > (vector, vector) IS 'greater than';
COMMENT ON OPERATOR CLASS vector_ops USING btree IS 'order of vectors: element by element, then the shorter first';

COMMENT ON FUNCTION l2_distance(vector, vector) IS 'Euclidean distance';
COMMENT ON FUNCTION inner_product(vector, vector) IS 'inner product';
COMMENT ON FUNCTION vector_negative_inner_product(vector, vector) IS 'implementation of the operator <#>';
COMMENT ON FUNCTION cosine_distance(vector, vector) IS 'one minus the cosine similarity; NaN for a vector of zeros';
COMMENT ON FUNCTION l1_distance(vector, vector) IS 'taxicab distance: sum of the absolute differences';
COMMENT ON FUNCTION vector_l2_squared_distance(vector, vector) IS 'square of the Euclidean distance';
COMMENT ON FUNCTION vector_spherical_distance(vector, vector) IS 'angle between two vectors of length 1, in half turns';
COMMENT ON FUNCTION vector_dims(vector) IS 'number of dimensions';
COMMENT ON FUNCTION vector_norm(vector) IS 'Euclidean norm';
COMMENT ON FUNCTION l2_normalize(vector) IS 'the vector divided by its Euclidean norm; a vector of zeros stays one';
COMMENT ON FUNCTION subvector(vector, integer, integer) IS 'elements from a position, counted from 1, and how many';
COMMENT ON FUNCTION binary_quantize(vector) IS 'one bit an element: 1 if it is above 0';
COMMENT ON FUNCTION vector_add(vector, vector) IS 'implementation of the operator +';
COMMENT ON FUNCTION vector_sub(vector, vector) IS 'implementation of the operator -';
COMMENT ON FUNCTION vector_mul(vector, vector) IS 'implementation of the operator *';
COMMENT ON FUNCTION vector_concat(vector, vector) IS 'implementation of the operator ||';
COMMENT ON FUNCTION vector_lt(vector, vector) IS 'implementation of the operator <';
COMMENT ON FUNCTION vector_le(vector, vector) IS 'implementation of the operator <=';
COMMENT ON FUNCTION vector_eq(vector, vector) IS 'implementation of the operator =';
COMMENT ON FUNCTION vector_ne(vector, vector) IS 'implementation of the operator <>';
COMMENT ON FUNCTION vector_ge(vector, vector) IS 'implementation of the operator >=';
COMMENT ON FUNCTION vector_gt(vector, vector) IS 'implementation of the operator >';
COMMENT ON FUNCTION vector_cmp(vector, vector) IS '-1, 0 or 1: less, equal or greater';
