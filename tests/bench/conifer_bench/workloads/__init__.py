"""What is measured, in the order of the report. Each module has LETTER, TITLE, cost(context) and run(context)."""

from . import build, growth, mixed, recall, scaling, write

WORKLOADS = sorted([recall, build, write, mixed, growth, scaling], key=lambda module: module.LETTER)
