"""Entry point of the ``selchat`` command, and of ``python -m selchat``."""

import signal
import sys


def main() -> int:
    """Run the command line.

    The imports take a tenth of a second. A signal in that time would end the process, with a traceback for
    SIGINT. So it waits until there is a handler: `selchat.cli` or the server's reactor unblocks it.
    """
    if hasattr(signal, "pthread_sigmask"):  # POSIX only
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    from selchat.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
