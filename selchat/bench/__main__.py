"""Entry point of the ``selchat-bench`` command, and of ``python -m selchat.bench``."""

import signal
import sys


def main() -> int:
    """Run the command line. Ctrl-C during the imports waits until `selchat.bench.cli` unblocks it."""
    if hasattr(signal, "pthread_sigmask"):  # POSIX only
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    from selchat.bench.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
