"""Every format that is read, made data, and exact answers against brute force."""

import gzip
import json

import h5py
import numpy as np
import pytest

from conifer_bench import __main__ as command
from conifer_bench import data, generate, loaders


@pytest.fixture
def vectors():
    random = np.random.default_rng(7)
    return random.normal(size=(60, 5)).astype(np.float32), random.normal(size=(9, 5)).astype(np.float32)


def write_fvecs(path, rows):
    lead = np.full((len(rows), 1), rows.shape[1], "<i4")
    np.hstack([lead, rows.astype("<f4").view("<i4")]).tofile(path)


def in_any_order(found, expected):
    return sorted(map(tuple, found)) == sorted(map(tuple, expected))


def test_npy_directory_keeps_tenants_and_metadata_with_their_rows(tmp_path, vectors):
    base, queries = vectors
    np.save(tmp_path / "base.npy", base.astype(np.float16))
    np.save(tmp_path / "queries.npy", queries.astype(np.float16))
    np.save(tmp_path / "base_tenant.npy", np.arange(60) % 7)
    np.save(tmp_path / "queries_tenant.npy", np.arange(9) % 7)
    with gzip.open(tmp_path / "base.jsonl.gz", "wt") as lines:
        for row in range(60):
            lines.write(json.dumps({"id": f"r{row}", "tenant": row % 7, "place": row, "none": None}) + "\n")
    found = loaders.load(tmp_path, seed=3)
    places = [entry["place"] for entry in found.metadata]
    assert places != sorted(places), "the rows were not shuffled"
    assert np.array_equal(found.base, base.astype(np.float16).astype(np.float32)[places])
    assert np.array_equal(found.tenants, np.array(places) % 7)
    assert np.array_equal(found.query_tenants, np.arange(9) % 7)
    assert set(found.metadata[0]) == {"place"}
    assert found.metric == "cosine"


def test_fvecs_directory(tmp_path, vectors):
    base, queries = vectors
    write_fvecs(tmp_path / "base.fvecs", base)
    write_fvecs(tmp_path / "query.fvecs", queries)
    found = loaders.load(tmp_path, seed=3, metric="euclidean")
    assert in_any_order(found.base, base)
    assert np.array_equal(found.queries, queries)
    assert found.metric == "euclidean" and found.metadata is None


def test_fvecs_file_gives_up_some_of_its_rows_as_queries(tmp_path, vectors):
    base, _ = vectors
    write_fvecs(tmp_path / "all.fvecs", base)
    found = loaders.load(tmp_path / "all.fvecs", seed=3)
    assert found.queries.shape == (6, 5)
    assert in_any_order(np.vstack([found.base, found.queries]), base)


def test_fvecs_of_another_length_is_refused(tmp_path):
    np.arange(7, dtype="<i4").tofile(tmp_path / "bad.fvecs")
    with pytest.raises(ValueError, match="not an .fvecs file"):
        loaders.load(tmp_path / "bad.fvecs", seed=3)


@pytest.mark.parametrize(("told", "metric"), [("angular", "cosine"), ("euclidean", "euclidean"), ("dot", "dotproduct")])
def test_hdf5_tells_its_metric(tmp_path, vectors, told, metric):
    base, queries = vectors
    with h5py.File(tmp_path / "some.hdf5", "w") as file:
        file["train"], file["test"] = base, queries
        file.attrs["distance"] = told
    found = loaders.load(tmp_path / "some.hdf5", seed=3)
    assert found.metric == metric
    assert in_any_order(found.base, base) and np.array_equal(found.queries, queries)


def test_hdf5_of_a_distance_that_is_not_there_is_refused(tmp_path, vectors):
    with h5py.File(tmp_path / "some.hdf5", "w") as file:
        file["train"], file["test"] = vectors
        file.attrs["distance"] = "jaccard"
    with pytest.raises(ValueError, match="jaccard"):
        loaders.load(tmp_path / "some.hdf5", seed=3)


def test_zeros_are_left_out_where_they_have_no_direction(tmp_path, vectors):
    base, queries = vectors
    base[[4, 9]], queries[3] = 0, 0
    np.save(tmp_path / "base.npy", base)
    np.save(tmp_path / "queries.npy", queries)
    np.save(tmp_path / "base_tenant.npy", np.arange(60))
    found = loaders.load(tmp_path, seed=3)
    assert found.base.shape == (58, 5) and found.queries.shape == (8, 5)
    assert sorted(found.tenants) == [tenant for tenant in range(60) if tenant not in (4, 9)]
    assert "2 rows and 1 queries of zeros left out" in found.source
    assert len(loaders.load(tmp_path, seed=3, metric="euclidean")) == 60


def test_a_directory_without_vectors_names_what_it_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match="base and queries"):
        loaders.load(tmp_path, seed=3)


def test_the_repository_has_a_real_sample():
    found = loaders.load(command.SAMPLE, seed=1)
    assert found.base.shape == (4000, 384) and found.queries.shape == (100, 384)
    assert np.allclose(np.linalg.norm(found.base, axis=1), 1, atol=2e-3)
    assert len(np.unique(found.tenants)) > 40
    assert sum(file.stat().st_size for file in command.SAMPLE.iterdir()) <= 4 * 2**20


def test_vectors_that_are_not_finite_are_refused(vectors):
    base, queries = vectors
    base[3, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        data.Dataset("bad", "cosine", base, queries)


def test_made_data_are_the_same_again_and_grow_at_their_end():
    small, large = generate.generate(500, 16, queries=20), generate.generate(12_000, 16, queries=20)
    assert np.array_equal(small.base, large.base[:500]) and np.array_equal(small.queries, large.queries)
    assert np.array_equal(small.tenants, large.tenants[:500]) and small.metadata == large.metadata[:500]
    assert not np.array_equal(small.base, generate.generate(500, 16, queries=20, seed=2).base)
    sizes = np.bincount(large.tenants, minlength=100)
    assert sizes.max() > 20 * np.median(sizes)
    held = [entry["share"] for entry in large.metadata]
    for name, share in generate.SHARES.items():
        assert held.count(name) == pytest.approx(share * 12_000, rel=0.5)


def test_norms_of_made_data_differ():
    for dimension in (8, 384, 768):
        norms = np.linalg.norm(generate.generate(2_000, dimension, metric="dotproduct").base, axis=1)
        assert norms.std() > 0.15 * norms.mean(), dimension


@pytest.mark.parametrize("metric", data.METRICS)
def test_the_first_columns_are_renormalised_where_only_directions_count(vectors, metric):
    base, queries = vectors
    base[[4, 9], :2], queries[3, :2] = 0, 0
    found = data.Dataset("some", metric, base, queries, tenants=np.arange(60), source="a file").columns(2)
    assert found.name == "some, first 2 of 5 columns" and found.source.startswith("a file; first 2 of 5 columns")
    if metric != "cosine":
        assert np.array_equal(found.base, base[:, :2]) and np.array_equal(found.queries, queries[:, :2])
        return
    # two rows and a query had nothing but zeros there
    kept = np.delete(np.arange(60), [4, 9])
    assert np.array_equal(found.tenants, kept) and found.queries.shape == (8, 2)
    assert np.allclose(np.linalg.norm(found.base, axis=1), 1) and np.allclose(np.linalg.norm(found.queries, axis=1), 1)
    assert np.allclose(found.base * np.linalg.norm(base[kept, :2], axis=1, keepdims=True), base[kept, :2])
    assert "renormalised; 2 rows and 1 queries of zeros left out" in found.source


@pytest.mark.parametrize("count", [-1, 6])
def test_columns_that_are_not_there_cannot_be_taken(vectors, count):
    with pytest.raises(ValueError, match="5 dimensions"):
        data.Dataset("some", "cosine", *vectors).columns(count)


def test_options_shape_the_data():
    def shaped(*given):
        return command.dataset(command.arguments(given))

    made = shaped("--rows", "100", "--dimension", "24", "--metric", "euclidean")
    assert (made.name, made.base.shape, made.metric) == ("made-100x24", (100, 24), "euclidean")
    cut = shaped("--data", "sample", "--rows", "50", "--columns", "8")
    assert cut.base.shape == (50, 8) and cut.queries.shape == (100, 8)
    assert cut.name == "debian-minilm384-sample, first 50, first 8 of 384 columns"
    with pytest.raises(SystemExit):
        command.arguments(["--data", "sample", "--dimension", "8"])


def brute_force(base, query, metric):
    """By the definitions, one row at a time."""

    def distance(row):
        a, b = row.astype(float), query.astype(float)
        if metric == "dotproduct":
            return -sum(a * b)
        if metric == "euclidean":
            return sum((a - b) ** 2)
        return 1 - sum(a * b) / (sum(a * a) * sum(b * b)) ** 0.5

    return sorted((distance(row), number) for number, row in enumerate(base))


def test_fewer_of_the_nearest_are_the_first_of_them(vectors):
    dataset = data.Dataset("some", "euclidean", *vectors)
    few, many = data.exact(dataset, 4), data.exact(dataset, 20).nearest(4)
    assert np.array_equal(few.rows, many.rows) and np.array_equal(few.distances, many.distances)


@pytest.mark.parametrize("metric", data.METRICS)
def test_exact_answers_are_those_of_brute_force(vectors, metric, tmp_path):
    base, queries = vectors
    dataset = data.Dataset("some", metric, base, queries)
    for _ in range(2):  # computed, then from the cache
        truth = data.exact(dataset, 7, cache=tmp_path)
        for line, query in enumerate(queries):
            assert truth.rows[line].tolist() == [number for _, number in brute_force(base, query, metric)[:7]]
    assert len(list(tmp_path.iterdir())) == 1


def test_exact_answers_over_several_blocks_and_among_some_rows(monkeypatch, vectors):
    monkeypatch.setattr(data, "BLOCK", 8)
    base, queries = vectors
    base[40:] = base[:20]  # equals: the lower row number comes first
    dataset = data.Dataset("some", "euclidean", base, queries)
    some = np.arange(5, 60)
    truth = data.exact(dataset, 10, rows=some, queries=[2, 4])
    for line, query in enumerate([2, 4]):
        expected = [number for _, number in brute_force(base, queries[query], "euclidean") if number >= 5]
        assert truth.rows[line].tolist() == expected[:10]


def test_another_metric_or_other_vectors_are_not_answered_from_the_cache(vectors, tmp_path):
    base, queries = vectors
    for metric in data.METRICS:
        data.exact(data.Dataset("some", metric, base, queries), 5, cache=tmp_path)
    data.exact(data.Dataset("some", "cosine", base[::-1], queries), 5, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_recall_counts_equals_once_and_repeats_never():
    base = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    truth = data.exact(data.Dataset("equals", "euclidean", base, base[:1]), 2)
    assert truth.rows.tolist() == [[0, 1]]
    assert truth.recall([[1, 2]]) == 1  # as near as those named
    assert truth.recall([[0, 3]]) == 0.5
    assert truth.recall([[0, 0]]) == 0.5
    assert truth.recall([[]]) == 0


def test_recall_where_there_are_fewer_than_k(vectors):
    base, queries = vectors
    truth = data.exact(data.Dataset("few", "cosine", base, queries), 10, rows=[3, 4])
    assert sorted(truth.rows[0][:2].tolist()) == [3, 4] and truth.rows[0][2:].tolist() == [-1] * 8
    assert truth.recall([[3, 4]] * len(queries)) == 1
    assert truth.recall([[3]] * len(queries)) == 0.5


def test_rows_by_tenant_lose_none(vectors):
    base, queries = vectors
    dataset = data.Dataset("some", "cosine", base, queries, tenants=np.arange(60) % 7)
    parts = dataset.rows().by_tenant()
    assert [name for name, _ in parts] == sorted(name for name, _ in parts)
    assert sorted(int(id) for _, part in parts for id in part.ids) == list(range(60))
    for name, part in parts:
        assert set(part.tenants) == {name}
        assert all(np.array_equal(base[int(id)], vector) for id, vector in zip(part.ids, part.vectors, strict=True))
