"""``python -m selchat``."""

import sys

from selchat.cli import main

sys.exit(main())
