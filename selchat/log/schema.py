"""Schema of a history file, and the migrations between its versions.

Never change a released migration, because files that it made exist. Add a new one after it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from selchat.log.errors import NewerHistoryError, NotAHistoryError, OlderHistoryError
from selchat.log.transaction import transaction

APPLICATION_ID = 0x53454C43  # "SELC" marks the file as ours (https://sqlite.org/fileformat.html)

# Measured with SQLite 3.40, 64-byte bodies, ids of 16 characters, commits of 256, fsync not counted:
#
#                                                1 room,     1 room,       50 rooms,
#     thousand messages a second                 1 client    1,000 clients 1,000 clients
#     this schema                                210         215           150
#     an index on (client) alone                 210         90            80
#     the same, WITHOUT ROWID, by (room, seq)    225         50            60
#     this schema, rowid made of room and seq    250         255           70
#     no index by client                         280         255           200
#
# A plain index by client has a page for every few clients, and every commit writes many of these pages. So
# the rowid is the order of arrival. That costs an index by room, but the oldest messages become one range to
# delete. The index by client starts a new generation every 4,096 messages: a commit touches some 20 of its
# pages, no matter how many clients there are. To find the messages of one client takes one step for each
# 4,096 stored messages, which is well under a millisecond for a million.
#
# ``client`` is a hash of 64 bits (``selchat.log.sqlite``). Numbers from a table of clients would save 15 of
# 164 bytes a message, would be no faster, and would need a table that must be cleaned up.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (  # version 1
        "CREATE TABLE log (id TEXT NOT NULL)",
        "INSERT INTO log VALUES (lower(hex(randomblob(8))))",
        "CREATE TABLE room (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, newest INTEGER NOT NULL)",
        "CREATE TABLE message ("
        " n INTEGER PRIMARY KEY, room INTEGER NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL,"
        " author TEXT NOT NULL, client INTEGER, id TEXT NOT NULL, cipher TEXT, body TEXT NOT NULL)",
        "CREATE UNIQUE INDEX message_by_room ON message (room, seq)",
        "CREATE INDEX message_by_client ON message (n >> 12, client) WHERE client IS NOT NULL",
        "CREATE TABLE record (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
        " PRIMARY KEY (kind, key)) WITHOUT ROWID",
    ),
    (  # version 2: the ids of deleted messages, in the order of their deletion
        "CREATE TABLE expired ("
        " k INTEGER PRIMARY KEY, client INTEGER NOT NULL, room INTEGER NOT NULL, seq INTEGER NOT NULL,"
        " at REAL NOT NULL, id TEXT NOT NULL)",
        "CREATE INDEX expired_by_client ON expired (client)",
    ),
)
VERSION = len(MIGRATIONS)


def version(db: sqlite3.Connection, path: Path) -> int:
    """Return the version of an open file; 0: it is empty.

    Raises `NotAHistoryError`, `NewerHistoryError` or sqlite3.Error.
    """
    try:
        [(application,)] = db.execute("PRAGMA application_id")
        [(found,)] = db.execute("PRAGMA user_version")
        [(objects,)] = db.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise NotAHistoryError(path) from error
        raise
    if objects == 0:
        return 0
    if application != APPLICATION_ID or found < 1:
        raise NotAHistoryError(path)
    if found > VERSION:
        raise NewerHistoryError(path, found, VERSION)
    return int(found)


def check(db: sqlite3.Connection, path: Path) -> None:
    """Raise the errors of `version`, and `OlderHistoryError` if the file needs a migration."""
    found = version(db, path)
    if found == 0:
        raise NotAHistoryError(path)
    if found < VERSION:
        raise OlderHistoryError(path, found, VERSION)


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Migrate an open file, possibly an empty one, to the latest version. Raises the errors of `version`."""
    for number in range(version(db, path), VERSION):
        with transaction(db):
            for statement in MIGRATIONS[number]:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number + 1}")
