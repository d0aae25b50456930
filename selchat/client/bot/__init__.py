"""The Python API for bots: a blocking client and its threads."""
