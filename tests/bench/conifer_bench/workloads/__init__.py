"""What is measured, in the order of the report. Each module has LETTER, TITLE, cost(context) and run(context)."""

from . import build, filter, growth, mixed, recall, scaling, tenant, write

WORKLOADS = sorted([recall, build, write, mixed, tenant, filter, growth, scaling], key=lambda module: module.LETTER)
