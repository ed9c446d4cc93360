"""The bench: Conifer beside pgvector in one server. `make bench` runs it; `python -m conifer_bench --help` tells its options."""
