"""What is measured, in the order of the report. Each module has LETTER, TITLE, cost(context) and run(context)."""

from . import build, filter, growth, index, mixed, recall, scaling, tenant, write

WORKLOADS = sorted(
    [recall, build, write, mixed, tenant, filter, growth, scaling, index], key=lambda module: module.LETTER
)
