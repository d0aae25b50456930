"""``selchat-bench``: load tester for chat servers.

- ``cli``: the command line; ``plan``: its options, checked; ``metrics``: the names of all metrics
- ``scenarios``: the steps of each scenario; ``testbed``: the processes of a run; ``results``: its metrics
- ``load``: load generators; ``wires``: the protocols that they speak; ``verify``: the check of every delivery
- ``report``: text, JSON, CSV, HTML and progress; ``system``: processes, Linux statistics, the floor
- ``histogram``: latencies in bounded memory

It knows the wire, and nothing of the server's code. It measures a client's view of the server, and
reads the usage of the server's process from the system.
"""
