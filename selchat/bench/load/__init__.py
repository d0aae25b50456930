"""Load generators: worker processes that connect, send messages and check every delivery.

- ``workers``: the worker processes of a run, controlled by their parent
- ``worker``: the main program of such a process; ``control``: commands and progress between the two
- ``job``: the task of a worker, and its measurements
- ``generator``: the state that the commands share; ``connections``: its sockets; ``client``: one connection
- ``joining``, ``loops``, ``churn``, ``stalled``: the commands; ``recorder``: their measurement
- ``lockstep``: agreement between workers that make one load
"""
