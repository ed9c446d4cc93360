"""What is measured, in the order of the report. Each module has LETTER, TITLE, cost(context) and run(context)."""

WORKLOADS = []
