"""Settings: every limit, and the sources they are read from."""
