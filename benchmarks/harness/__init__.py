"""Shared code of the benchmark scripts: pinned processes, wires, the load, the machine, and charts."""
