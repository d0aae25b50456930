"""Reports: ``text`` for a terminal, ``files`` for JSON and CSV, ``html`` for a page, and ``progress``."""
