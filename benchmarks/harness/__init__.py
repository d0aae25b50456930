"""What the benchmark scripts share: pinned processes, wires, the load, the machine, and charts."""
