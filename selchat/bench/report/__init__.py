"""Reports and progress display."""
