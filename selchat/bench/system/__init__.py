"""Processes, and their measurement on Linux."""
