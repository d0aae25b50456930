"""Processes of the benchmark, and measurements that only Linux offers.

``proc`` reads ``/proc`` and socket statistics, ``processes`` starts and stops processes, ``floor`` is the
bare loop of sends that a server is compared with.
"""
