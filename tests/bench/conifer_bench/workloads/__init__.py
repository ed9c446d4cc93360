"""What is measured, in the order of the report. Each module has LETTER, TITLE, cost(context) and run(context)."""

from . import build, mixed, recall, write

WORKLOADS = sorted([recall, build, write, mixed], key=lambda module: module.LETTER)
