"""Generated SQL expressions over the type `vector`, the same text for Conifer and pgvector.

Each is meant to be evaluated with a search path that finds one of the two types. Seeded: the same seed gives the same
expressions.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from random import Random

import numpy as np

MAX = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).tiny)
DENORMAL = float(np.finfo(np.float32).smallest_subnormal)

#: Numbers at the edges of float4, of printing and of distances.
EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, 0.1, 1 / 3, 3.0, 7.0, 1e-7, 1e7, 123456.0, 1234567.0, 12345678.0, 16777216.0,
    16777217.0, 999999.0, 1000000.0, 0.0001, 0.00001, 0.3, 1e15, 1e16, 1e-10, 2.0**31, -(2.0**31), 1e10,
    MAX, -MAX, MAX / 2, 1e38, -1e38, 1e20, 1.8446743e19, 1e19, -1e19, 1e-20, 1e-19, 1e-23,
    TINY, -TINY, DENORMAL, -DENORMAL, 3 * DENORMAL, 1e-40, -1e-42,
]  # fmt: skip

#: Texts that stand where a number should, most of them wrong in some way.
ODD_NUMBERS = [
    "", " ", "a", "NaN", "nan", "-nan", "NAN(1)", "inf", "-inf", "Infinity", "infinit", "INF", "1e400", "-1e400",
    "3.5e38", "3.4028235e38", "3.4028236e38", "1e-400", "1e-46", "7e-46", "8e-46", "1e-45", "4e38", "1e", "1e+",
    "1e5x", "0x10", "0x1p3", "0x1.8p-1", "0x", "0xg", "--1", "+1", "+-1", "1.", ".5", ".", "-.5e1", "1 2", "1\t",
    "1_000", "1,", ",", "[1]", "]", "1]", "\u00a0" "1", "\uff11", "1\n", "\v1", "\f1", "1e0005", "00012", "1e-0",
    "0.1e1", "1.7976931348623157e308", "16777217", "9007199254740993", "0.000000000000000000000000000000000000001",
    "123456789012345678901234567890", "null", "true", "1;", "'1'", '"1"', "1/2", "1d", "1f", "e5", "-", "+",
]  # fmt: skip

#: Layouts of a vector's text; `%s` stands for the elements.
LAYOUTS = [
    "[%s]", "[%s]", "[%s]", "[%s]", " [ %s ] ", "\t[%s]\n", "[%s", "%s]", "[%s]]", "[[%s]]", "[%s] x", "{%s}", "(%s)",
    "[%s,]", "[,%s]", "%s", "[%s][1]", "[%s];", "", "[", "]", "[]", "[ ]", " ", "x[%s]", "[%s]\v\f\r ", "[,]", "[%s\n]",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An expression and how its two values are compared."""

    expression: str
    #: For distances: (kind, left, right). None: the texts must be equal.
    distance: tuple[str, list[float], list[float]] | None = None


def to_float4(x: float) -> float:
    return struct.unpack("f", struct.pack("f", x))[0]


def text_of(elements: list[float]) -> str:
    """A vector's text that reads back as exactly these float4 values."""
    return "[" + ",".join(repr(x) for x in elements) + "]"


def literal(text: str) -> str:
    """An SQL string constant."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'" if "\\" in text else f"'{escaped}'"


class Generator:
    """All families of expressions over one random sequence."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    # -- values --

    def dimension(self) -> int:
        return self.random.choice([1, 1, 2, 2, 3, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100])

    def element(self, wild: float) -> float:
        random = self.random
        if random.random() < wild:
            x = random.choice(EDGES)
        elif random.random() < 0.3:
            x = float(random.randint(-9, 9))
        elif random.random() < wild:
            x = random.choice([-1, 1]) * 2.0 ** random.uniform(-148, 127.9)
        else:
            x = random.gauss(0, 1)
        return to_float4(max(-MAX, min(MAX, x)))

    def elements(self, dim: int | None = None) -> list[float]:
        wild = self.random.choice([0.0, 0.0, 0.0, 0.1, 0.9])
        return [self.element(wild) for _ in range(dim or self.dimension())]

    def vector(self, dim: int | None = None) -> str:
        return literal(text_of(self.elements(dim))) + "::vector"

    def pair(self) -> tuple[list[float], list[float]]:
        """Two vectors; one time in twelve of different dimensions, sometimes related."""
        left = self.elements()
        roll = self.random.random()
        if roll < 1 / 12:
            return left, self.elements(len(left) + self.random.choice([-1, 1, 2]) or 1)
        if roll < 0.2:
            return left, list(left)
        if roll < 0.25:
            return left, [-x for x in left]
        if roll < 0.3:
            return left, [0.0] * len(left)
        return left, self.elements(len(left))

    # -- families --

    def text(self) -> Case:
        random = self.random
        dim = random.choice([0, 1, 1, 2, 3, 5])
        parts = []
        for _ in range(dim):
            roll = random.random()
            if roll < 0.15:
                number = random.choice(ODD_NUMBERS)
            elif roll < 0.7:
                number = repr(self.element(0.5))
            else:
                number = f"{random.choice(['', '-', '+'])}{random.randint(0, 10**random.randint(1, 12))}"
                number += f".{random.randint(0, 10**9)}e{random.randint(-45, 20)}"
            parts.append(random.choice(["", "", "", " ", "\t"]) + number + random.choice(["", "", "", " ", "\n"]))
        layout = random.choice(LAYOUTS) if random.random() < 0.4 else "[%s]"
        text = layout.replace("%s", ",".join(parts))
        modifier = random.choice(["", "", "", f"({max(1, dim + random.choice([0, 0, 0, 1, -1]))})"])
        return Case(f"{literal(text)}::vector{modifier}")

    def printed(self) -> Case:
        """Every bit pattern of a float4 must be printed as pgvector prints it."""
        bits = [self.random.getrandbits(32) for _ in range(8)]
        floats = [struct.unpack("f", struct.pack("I", b))[0] for b in bits]
        return Case(literal(text_of([x for x in floats if math.isfinite(x)] or [1.0])) + "::vector")

    def sent(self) -> Case:
        return Case(f"vector_send({self.vector()})")

    def modifier(self) -> Case:
        dim = self.random.randint(1, 4)
        number = self.random.choice([dim, dim, dim, dim, 0, -1, 1, 2, 3, 4, 5, 20001, 2147483647])
        form = self.random.choice(["%d"] * 9 + ["%d,%d" % (number, number), "'%d'", "'x'", "2147483648"])
        modifier = form % number if "%" in form else form
        value = self.random.choice([literal(text_of(self.elements(dim))), self.vector(dim), self.array(dim)])
        return Case(f"{value}::vector({modifier})")

    def arithmetic(self) -> Case:
        left, right = map(text_of, self.pair())
        operator = self.random.choice(["+", "-", "*", "||", "*", "+"])
        return Case(f"{literal(left)}::vector {operator} {literal(right)}::vector")

    def comparison(self) -> Case:
        left, right = self.pair()
        right = right if self.random.random() < 0.5 else [*left[:-1], right[-1]]
        left, right = f"{literal(text_of(left))}::vector", f"{literal(text_of(right))}::vector"
        operator = self.random.choice(["<", "<=", "=", "<>", ">=", ">", "cmp"])
        return Case(f"vector_cmp({left}, {right})" if operator == "cmp" else f"{left} {operator} {right}")

    def distance(self) -> Case:
        left, right = self.pair()
        name = self.random.choice(sorted(DISTANCES))
        form = self.random.choice(DISTANCES[name])
        a, b = f"{literal(text_of(left))}::vector", f"{literal(text_of(right))}::vector"
        expression = form.replace("%a", a).replace("%b", b)
        return Case(expression, (name, left, right) if len(left) == len(right) else None)

    def function(self) -> Case:
        random = self.random
        value = self.elements()
        text = f"{literal(text_of(value))}::vector"
        bounds = [-2147483648, -1, 0, 1, 2, 3, len(value), len(value) + 1, 2147483647]
        match random.choice(["subvector", "subvector", "quantize", "dims", "norm", "normalize"]):
            case "subvector":
                return Case(f"subvector({text}, {random.choice(bounds)}, {random.choice(bounds)})")
            case "quantize":
                return Case(f"binary_quantize({text})")
            case "dims":
                return Case(f"vector_dims({text})")
            case "norm":
                return Case(f"vector_norm({text})", ("norm", value, value))
            case _:
                # The norm's last bit depends on the order of summing, and so an element's last bit.
                value = value[:2]
                return Case(f"l2_normalize({literal(text_of(value))}::vector)")

    def array(self, dim: int | None = None) -> str:
        random = self.random
        kind = random.choice(["integer", "real", "double precision", "numeric"])
        numbers = []
        for _ in range(self.dimension() if dim is None else dim):
            if random.random() < 0.03:
                numbers.append("NULL")
            elif kind == "integer":
                numbers.append(str(random.choice([random.randint(-9, 9), 2147483647, -2147483648, 16777217])))
            elif random.random() < 0.1:
                odd = ["NaN", "Infinity", "-Infinity", "1e300", "1e-300", "3.4028236e38", "-1e39", "1e-46"]
                numbers.append(random.choice(odd if kind != "real" else odd[:3]))
            else:
                numbers.append(repr(self.element(0.4) * random.choice([1.0, 1.0 + 1e-9])))
        body = ",".join(numbers)
        if kind == "real":
            body = ",".join(n if n in ("NULL", "NaN", "Infinity", "-Infinity") else repr(to_float4_clamped(n)) for n in numbers)
        return literal("{" + body + "}") + f"::{kind}[]"

    def cast(self) -> Case:
        random = self.random
        roll = random.random()
        if roll < 0.1:
            shapes = ["{}", "{{1,2},{3,4}}", "{{}}", "[2:4]={1,2,3}", "[0:0]={5}", "{NULL}", "{NULL,NULL}"]
            kind = random.choice(["integer", "real", "double precision", "numeric"])
            return Case(f"{literal(random.choice(shapes))}::{kind}[]::vector")
        if roll < 0.8:
            return Case(f"{self.array()}::vector")
        if roll < 0.9:
            return Case(f"{self.vector()}::real[]")
        return Case(f"array_to_vector({self.array(3)}, {random.choice([-1, 2, 3])}, {random.choice(['true', 'false'])})")

    def aggregate(self) -> Case:
        random = self.random
        rows = random.choice([0, 1, 2, 3, 10])
        dim = random.randint(1, 4)
        values = [self.vector(dim if random.random() < 0.97 else dim + 1) for _ in range(rows)]
        values = [value if random.random() < 0.9 else "NULL::vector" for value in values]
        source = " UNION ALL ".join(f"SELECT {value} AS v" for value in values) or "SELECT NULL::vector AS v WHERE false"
        return Case(f"(SELECT {random.choice(['avg', 'sum'])}(v) FROM ({source}) AS rows)")

    def state(self) -> Case:
        """The aggregates' support functions, called as parallel plans call them."""
        def state(dims=(0, 2, 2, 2, 3)) -> str:
            dim = self.random.choice(dims)
            rows = self.random.choice([1, 5]) if dim else 0
            sums = [self.random.choice([0.5, -3.0, 1e300, 1.7e308, 1e-300]) for _ in range(dim)]
            return literal("{" + ",".join(map(repr, [rows, *sums])) + "}") + "::float8[]"

        match self.random.choice(["accum", "combine", "avg"]):
            case "accum":
                return Case(f"vector_accum({state()}, {self.vector(2)})")
            case "combine":
                # pgvector refuses two empty states, which parallel plans do combine; Conifer does not.
                return Case(f"vector_combine({state()}, {state((2, 2, 3))})")
            case _:
                return Case(f"vector_avg({state()})")

    def container(self) -> Case:
        """Vectors inside arrays, rows, sorting and grouping."""
        values = [self.vector(2) for _ in range(self.random.randint(1, 4))]
        values = [value if self.random.random() < 0.8 else "NULL" for value in values]
        array = "ARRAY[" + ",".join(values) + "]::vector[]"
        forms = [
            array,
            # without the OID of the type
            f"overlay(array_send({array}) PLACING '' FROM 9 FOR 4)",
            f"ROW({values[0]}, 1)",
            f"(SELECT array_agg(v ORDER BY v) FROM unnest({array}) AS v)",
            f"(SELECT count(DISTINCT v) FROM unnest({array}) AS v)",
            f"({array})[1]::real[]",
            f"pg_column_size({values[0]}::vector)",
            f"GREATEST({', '.join(values)}, NULL::vector)",
            f"coalesce({values[0]}::vector, '[7,7]')",
        ]
        return Case(self.random.choice(forms))

    def large(self) -> Case:
        """Around the limits that the two share."""
        dim = self.random.choice([1999, 2001, 15999, 16000, 20001, 32767, 32768, 70000])
        values = f"array_fill({self.random.choice([0.5, 1, -3])}::real, ARRAY[{dim}])"
        forms = [
            f"vector_dims({values}::vector)",
            f"md5(({values}::vector)::text)",
            f"md5(vector_send({values}::vector))",
            f"vector_dims(('[' || repeat('1,', {dim - 1}) || '1]')::vector)",
        ]
        return Case(self.random.choice(forms))


def to_float4_clamped(text: str) -> float:
    return to_float4(max(-MAX, min(MAX, float(text))))


#: Each distance and the ways to write it.
DISTANCES = {
    "l2": ["%a <-> %b", "l2_distance(%a, %b)"],
    "negative_inner_product": ["%a <#> %b", "vector_negative_inner_product(%a, %b)"],
    "inner_product": ["inner_product(%a, %b)"],
    "cosine": ["%a <=> %b", "cosine_distance(%a, %b)"],
    "l1": ["%a <+> %b", "l1_distance(%a, %b)"],
    "l2_squared": ["vector_l2_squared_distance(%a, %b)"],
    "spherical": ["vector_spherical_distance(%a, %b)"],
}

#: How many of each family; 10,000 in all with the binary messages of the test.
FAMILIES = {
    "text": 2200,
    "printed": 600,
    "sent": 250,
    "modifier": 450,
    "arithmetic": 1000,
    "comparison": 600,
    "distance": 1800,
    "function": 700,
    "cast": 900,
    "aggregate": 350,
    "state": 200,
    "container": 330,
    "large": 20,
}


def generate(seed: int) -> list[tuple[str, Case]]:
    """All cases with their family."""
    generator = Generator(seed)
    return [
        (family, getattr(generator, family)()) for family, count in FAMILIES.items() for _ in range(count)
    ]


def binary_messages(seed: int, count: int) -> list[bytes]:
    """Binary forms of a vector: whole, cut, extended, with wrong counts, with forbidden numbers."""
    generator = Generator(seed)
    random = generator.random
    messages = []
    for _ in range(count):
        elements = generator.elements()
        dim, unused = len(elements), 0
        match random.choice(["whole", "whole", "dim", "unused", "cut", "longer", "odd", "bits", "noise"]):
            case "dim":
                dim = random.choice([0, dim - 1, dim + 1, 32767, 32768, 65535])
            case "unused":
                unused = random.choice([1, 255, 32768, 65535])
            case "odd":
                elements[random.randrange(dim)] = random.choice([math.nan, math.inf, -math.inf])
            case "cut":
                message = struct.pack(f">HH{dim}f", dim, 0, *elements)
                messages.append(message[: random.randrange(len(message))])
                continue
            case "longer":
                messages.append(struct.pack(f">HH{dim}f", dim, 0, *elements) + random.randbytes(random.randint(1, 5)))
                continue
            case "bits":
                messages.append(struct.pack(">HH", dim, 0) + random.randbytes(4 * dim))
                continue
            case "noise":
                noise = random.randbytes(random.randint(0, 24))
                # Conifer allows 20,000 dimensions, pgvector 16,000: the one intended difference.
                if not 16_000 < int.from_bytes(noise[:2], "big") <= 20_000:
                    messages.append(noise)
                    continue
            case _:
                pass
        # A cut message whose last whole number is forbidden: which fault is told first?
        cut = random.choice([0, 0, 0, 2, 4])
        message = struct.pack(f">HH{len(elements)}f", dim, unused, *elements)
        messages.append(message[: len(message) - cut])
    return messages
