"""Load generator processes and their control."""
