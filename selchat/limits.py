"""Limits that are not settings: bytes, counts and waits, each with its unit and its reason.

`selchat.config.settings` has the limits that an operator may want to change. Each limit here follows from a
format, from a measurement, or from another limit. A comment names the unit, and then the reason or another
program's value of the same limit.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# -- names and texts -----------------------------------------------------------------------------------------

NAME_LENGTH = 32  # characters of a user's name; Libera.Chat: 16, Discord: 32
ROOM_LENGTH = 32  # characters of a room's name; Matrix: 255, IRC: 50
MAX_RAW_NAME = 1024  # characters of a name before it is cleaned; the rest has no effect
MAX_WORD_TO_NORMALISE = 256  # characters that are normalised at a time: a run of n marks takes n² steps
MAX_VALUE_SHOWN = 200  # characters of a wrong value in an error; enough for most paths
MAX_OPTION_SHOWN = 100  # characters of an unknown option in an error
MAX_PATH_SHOWN = 200  # characters of an HTTP path in an error message
MAX_BODY_WARNED = 200  # characters of an announcement in a warning of the console
MAX_NAME_WORDS = 32  # words of a name without quotes in a command
MAX_SPACED_NAME = 1024  # characters of such a name with its spaces

# -- configuration and commands ------------------------------------------------------------------------------

MAX_CONFIG_SIZE = 64 * KIB  # bytes of the settings file; one with every setting has 4 KiB
MAX_MISTAKES = 20  # mistakes in the settings that are reported
MAX_DURATION = 3650 * 86_400  # seconds that a person may type; ten years
MAX_QUANTITY_LENGTH = 64  # characters of a size or a duration
MAX_PASSWORD_LINE = 4 * KIB  # bytes of the line that `selchat hash-password` reads
EXPORT_BATCH = 1000  # messages that `selchat export` reads at a time
EXPORT_PROGRESS_SECONDS = 2.0  # seconds before its first progress line
MAX_SINCE_LENGTH = 100  # characters of --since; a longer one would take long to parse
MAX_ROOMS_SHOWN = 50  # rooms that it lists if the requested one does not exist

# -- passwords and tokens ------------------------------------------------------------------------------------

PASSWORD_LENGTH = 256  # characters of the server's password; bcrypt: 72 bytes
MAX_HASH_WORK = 1 << 22  # N * r * p of scrypt: 16 times that of our own hashes; takes some seconds
MAX_TOKENS_SIZE = 256 * KIB  # bytes of the file of tokens
MAX_TOKENS = 1000  # tokens; each request compares its token with all of them, at 0.2 microseconds each
FREE_FAILURES = 5  # wrong passwords a minute before the first lockout; fail2ban: 5 in 10 minutes
FIRST_LOCKOUT = 2.0  # seconds after the fifth failure; each further failure doubles it
MAX_LOCKOUT = 600.0  # seconds; fail2ban: 600
LOCKOUT_RESET_SECONDS = 3600.0  # seconds without a failure, after which the lockouts start over
LOGIN_BUSY_SECONDS = 2.0  # seconds before the next attempt when the queue of checks is full
MAX_FAILED_SOURCES = 10_000  # source addresses with failures; one takes about 500 bytes
MAX_FAILURES_REPORTED = 10  # wrong passwords a minute that the operator sees one by one
MAX_CODE_LENGTH = 64  # characters of a typed code of an operator

# -- wire formats --------------------------------------------------------------------------------------------

HEADER_LENGTH = 10  # bytes of a frame's header; the paper's HEADER_LENGTH
MAX_HEADER_LENGTH = 4096  # bytes; some classic clients use 100 or 1,024
SELCHAT_HEADER_LENGTH = 5  # bytes, for frames of 64 KiB; the selchat protocol's messages need most of that
FRAME_LIMIT = 64 * KIB  # bytes of a frame's payload; `Settings.frame_limit` of the server
MAX_FRAME_HEADERS = 4096  # cached headers of frames
MAX_HEADER_BYTES = 256 * KIB  # bytes of all cached headers, if they are long
MAX_HEADER_SHOWN = 32  # bytes of a header, and digits of a length, in a message
MAX_CLASSIC_NAMES = 4096  # cached frames of names; encoding one again takes 0.5 microseconds
MAX_ENCODED_NAMES = 4096  # cached JSON of names, and of rooms
SHORT_PAYLOAD = KIB  # bytes; the headers of shorter payloads are precomputed
REQUEST_NAME_LENGTH = 256  # characters of a name that the parser accepts; the hub validates names
MIN_SECRET_LENGTH, MAX_SECRET_LENGTH = 16, 128  # characters of a `hello`'s ``client``
LOG_LENGTH = 256  # characters of a log's id
ID_LENGTH = 64  # characters of a message's id; a UUID has 36
CIPHER_LENGTH = 256  # characters of the parameters of an encryption
TOPIC_LENGTH = 256  # characters of a room's topic; Libera.Chat: 390
TOKEN_LENGTH = 64  # characters of a request's token
HISTORY_LIMIT = 1000  # messages in one `history` request; Matrix: 1,000, Discord: 100
# Bytes of a `hello`'s payload: a server buffers no more for a peer that has not logged in
# (`Settings.login_limit`). Some 100 rooms fit; a client joins further rooms after the welcome.
HELLO_LIMIT = 4 * KIB
PAYLOAD_LIMIT = MIB  # bytes of a payload from the server
HISTORY_BYTES = 64 * KIB  # bytes of one history page, about; the server serves others between two pages
MAX_LISTED = 1000  # names or rooms in one list
MAX_DEPTH = 32  # arrays and objects inside each other
MAX_DIGITS = 64  # characters of a number
MAX_VALUES = 1024  # commas, arrays and objects of a request: 64 KiB of ``{},`` would take 13 milliseconds
CHUNK_OVERHEAD = 512  # bytes that an HTTP chunk counts besides its own: 6 bytes take 1 microsecond
CHUNKS_PER_CALL = 64  # HTTP chunks that are decoded at a time
EARLY_LIMIT = 64  # WebSocket frames that complete no message, before login; a browser sends none
MAX_PARTS_PER_READ = 1024  # such frames in one read after login; with reads of 64 KiB: fragments of 64 bytes
FRAGMENT_OVERHEAD = 512  # bytes that each such frame counts besides its own: 6 bytes take 1 microsecond
MAX_PARSED_HEADER = KIB  # bytes of a WebSocket handshake's header that is parsed item by item
MAX_E2EE_SESSIONS = 4096  # encryption sessions that a receiver remembers; each takes up to 16 kB
E2EE_WINDOW = 1000  # messages of a session that the receiver remembers
SCRYPT_MEMORY = 64 * MIB  # bytes; the limit that OpenSSL gets for deriving a key

# -- sockets and TLS -----------------------------------------------------------------------------------------

# Bytes of the first read. Python allocates the whole buffer: a read of 64 KiB for a message of 64 bytes costs
# 1 microsecond more, of 3 in all. A second read costs as much, but only when there are many messages.
FIRST_READ = 4 * KIB
MAX_SEND_BYTES = 256 * KIB  # bytes in one system call
MAX_SEND_BUFFERS = 64  # buffers in one system call; IOV_MAX is 1,024 on Linux and at least 16 (POSIX)
MAX_CANCELLED_TIMERS = 1000  # cancelled timers in the heap before it is rebuilt; asyncio: 100
MAX_INTERFACES = 1024  # addresses of this machine that are listed
ADDRESS_REFRESH_SECONDS = 5.0  # seconds between two reads of the machine's addresses, at least
CHARGED_RECORDS = 16  # TLS records that are charged at a time, so that most reads need no clock
# Bytes encrypted at a time: two records. A full socket leaves at most this much with us. To encrypt a whole
# chunk would leave each slow reader with a copy of it; a single record would cost a system call per 16 KiB.
TLS_PIECE = 32 * KIB
TLS_READ = 64 * KIB  # bytes requested from OpenSSL, which returns one record (16 KiB) at a time
MAX_PEM_SIZE = MIB  # bytes of a file with certificates or a key; a long chain has 8 KiB
MAX_TLS_UNSENT = 4 * TLS_PIECE  # bytes of unsent TLS messages before we close: such a peer never reads
MAX_TLS_HANDSHAKE = 16 * KIB  # bytes received during a handshake; a long certificate chain has 8 KiB
TLS_RECORDS = 40  # TLS records for each message of the rate; a client that sends byte by byte needs more
DISCARD_PAUSE = 0.05  # seconds without a read from a peer that sends on while its connection closes
TLS_EMPTY_BURST = 32  # TLS records without data at once, such as key updates; OpenSSL: 32 empty ones
TLS_EMPTY_RATE = 1.0  # such records a second
TLS_PADDING = 8 * KIB  # bytes of padding that count like one of them
STDIO_READ = 64 * KIB  # bytes of a read from standard input
STDIO_PIPE = 512  # bytes that a ready pipe accepts without blocking (POSIX); Linux: 4,096
BACKGROUND_POLL_SECONDS = 1.0  # seconds between two checks whether we are in the foreground again

# -- history -------------------------------------------------------------------------------------------------

MEMORY_LOG_SIZE = 64 * MIB  # characters of all rooms of the memory log; about five bytes each
MESSAGE_OVERHEAD = 256  # bytes of a message in addition to its body
MAX_LOGGED_IDS = 4096  # ids of one client, for duplicate detection: the promise of docs/protocol.rst
MAX_MEMORY_LOG_IDS = 250_000  # ids of all clients in the memory log, at about 200 bytes each
MAX_LOG_ROOMS = 20_000  # rooms and inboxes of the history in memory, 180 bytes each; the file has the others
MAX_MEMORY_LOG_SEQS = 100_000  # last numbers of rooms whose messages the memory log has lost; 150 bytes each
SQLITE_BUSY_SECONDS = 0.05  # seconds to wait for another program that writes; the whole server waits
# Pages in the write-ahead log after which a commit checkpoints them into the file. Measured with commits of
# 256 at 140,000 messages a second: with 1,000 pages, the slowest of 100 commits takes 6 ms and the slowest of
# all 8. With 4,000 and 16,000 pages, the slowest takes 20 and 52 ms, and the mean is no better. Checkpoints
# are `PASSIVE`: they wait for no reader, and SQLite restarts the log when a commit finds all pages
# checkpointed.
CHECKPOINT_PAGES = 1000
WAL_LIMIT = 16 * MIB  # bytes; SQLite truncates the log to it after a reader has held up checkpoints
SQLITE_CACHE = 8 * MIB  # bytes of pages in memory; SQLite: 2 MB
# Limits of one step of `expire`: messages, and approximate characters of their bodies. Such a step takes 1.5
# ms, both with messages of 64 bytes and with messages of 64 KiB.
EXPIRE_MESSAGES = 500
EXPIRE_CHARACTERS = 256 * KIB
MAX_EXPIRED_IDS = 250_000  # ids of deleted messages in the file, of all clients; 80 bytes each
EXPIRED_ID_SHARE = 1000  # bytes of --retention for each of these ids, if that allows fewer
MAX_SKIPPED = 2000  # damaged messages in one call, which takes 20 ms
READY_DISK = MIB  # bytes of free disk below which /readyz is not ready; RabbitMQ's disk alarm: 50 MB
DAMAGE_WARNING_SECONDS = 60.0  # seconds between two warnings about damage
SALVAGE_BATCH = 1000  # rows in one query of `selchat export` from a damaged file
MAX_RANGES_SHOWN = 20  # ranges of unreadable messages in one warning
CHECK_BATCH = 2000  # rows in one query of the check at the start; 0.5 ms for short messages
CHECK_PAUSE = 4.0  # seconds of pause for each second of that check
CHECK_BUSY_SECONDS = 5.0  # seconds that the check waits for another program that writes
QUICK_CHECK_SIZE = 64 * MIB  # bytes of a file that SQLite itself can check in less than a second

# -- people and rooms ----------------------------------------------------------------------------------------

MAX_REMEMBERED_IDS = 4096  # ids of one client, both in the log and in memory
MIN_REMEMBERED_IDS = 32  # ids of one client in memory, while there are very many clients
MAX_ALL_REMEMBERED_IDS = 250_000  # ids of all clients in memory, besides twice the minimum of each
NAME_OWNED_SECONDS = 90 * 86_400.0  # seconds that a name stays with its owner; Libera.Chat: 10 weeks
NAME_KEPT_SECONDS = 86_400.0  # seconds that an unused name is safe when the server needs space for new ones
NAMES_EXAMINED = 16  # names that one sign-in looks at to find a free one; 10 microseconds each
MAX_NAMES_ANNOUNCED = 500  # names in one `Joined` or `Left`
ROOM_PAGE = 200  # rooms in one answer to `rooms`
ROOM_LIST_SECONDS = 1.0  # seconds that a sorted list of all rooms serves; sorting 10,000 takes 4 ms
FRESH_ROOM_LIST = 200  # rooms; a list of so few is always sorted again
ROOMS_CHECKED = 100  # idle rooms that one pass of the housekeeping looks at
EMPTY_ROOM_SECONDS = 30 * 86_400.0  # seconds that a topic without messages and members is kept
MAX_COMMAND_LENGTH = 1000  # characters of a command; an announcement may be as long as a message
MAX_ROOMS_LISTED = 1000  # rooms in one answer to /rooms

# -- sessions ------------------------------------------------------------------------------------------------

WORK_BURST_SECONDS = 10  # seconds of unused loop time that a peer may use at once
MAX_BUCKETS = 10_000  # token buckets in one table, by address or by person; one takes about 250 bytes
SHORT_BODY = 1024  # bytes of a classic message that is no work, whatever it contains
LONG_PAYLOAD = 8 * KIB  # bytes of a message in the selchat protocol that is work
REPLAY_PAGE = 500  # messages that a replay reads from the log at a time
REPLAY_RETRY_SECONDS = 1.0  # seconds between two attempts to read a log that fails
API_IDLE_SECONDS = 60.0  # seconds after which an API member signs out; its next message costs a query
API_RETRY_SECONDS = 5  # seconds before a client should send a message again that was not stored
MAX_QUERY_FIELDS = 16  # fields of an HTTP query
MAX_REDIRECT_TARGET = 2048  # characters of a redirect's target; no browser's address bar needs more

# -- the server's process ------------------------------------------------------------------------------------

CERTIFICATE_CHECK_SECONDS = 86_400.0  # seconds between two checks of the certificate's dates; certbot: 12 h
CERTIFICATE_WARNING_SECONDS = 14 * 86_400.0  # seconds before its end; certbot renews 30 days before
CONSOLE_LIMIT = MIB  # bytes of lines queued for a terminal that is blocked
MEMORY_CHECK_SECONDS = 0.25  # seconds between two checks of the memory; one takes 1 ms for 1,000 connections
EXPIRY_PAUSE = 0.02  # seconds between two batches of expired history
PASSWORD_SHUTDOWN_SECONDS = 1.0  # seconds that the shutdown waits for password checks in progress
MAX_URLS_SHOWN = 6  # addresses in the banner; a machine can have dozens of IPv6 addresses

# -- clients: protocol and connection ------------------------------------------------------------------------

CLIENT_READ = 64 * KIB  # bytes of a read from the server
MAX_RETRY_AFTER = 3600.0  # seconds for which a server can keep a client away
MAX_LOCKOUT_WAIT = 3600.0  # seconds that a client waits for a server that checks no passwords now
STALE_HELLO_SECONDS = 60.0  # seconds for which the kernel may still send the hello of a lost connection
DRAIN_POLL_SECONDS = 0.1  # seconds between two looks at the send queue
MAX_SECRET_FILE_SIZE = 4 * KIB  # bytes of a password or passphrase file; nobody types more
MAX_CLIENT_SECRET_SIZE = KIB  # bytes of the file of the client's secret
SELCHAT_BATCH = 256 * KIB  # bytes of frames that a client encodes at a time
CLASSIC_BATCH = 64 * KIB  # bytes of frames joined for one system call
MAX_UNANSWERED_REQUESTS = 1000  # requests to which a server owes an answer; then the oldest is forgotten
MAX_BARE_RESUME = 1600  # bytes of a resume without rooms, for the longest name of a log
MAX_EARLY_REQUESTS = 100  # requests that a client keeps until the welcome
MAX_HELD_KEYLESS_SIZE = 16 * MIB  # bytes of messages that a client holds until a key arrives
MAX_KEYS = 4096  # rooms and keys that a client remembers: a server could invent new rooms for ever
MAX_MEMBERS = 10_000  # names that a client remembers for one room
MAX_CLIENT_ROOMS = 1024  # rooms that a client remembers; servers allow far fewer
MAX_HELD_MESSAGES = 4096  # messages that a room holds back until one with a lower number arrives
MAX_HELD_MESSAGES_SIZE = 4 * MIB  # characters of these messages
MAX_GAPS = 64  # ranges of missing messages that a room holds back
MAX_AUTHORS = 1000  # names of authors that a client remembers; a server could invent new ones for ever
FIELD_NAME_LENGTH = 256  # characters of a name of a user, a room or anything else from a server
FIELD_TEXT_LENGTH = 4096  # characters of a topic or an explanation from a server
MAX_FIELD_NAMES = 10_000  # names or rooms in one list from a server

# -- clients: terminal and plain output ----------------------------------------------------------------------

REDRAW_SECONDS = 0.03  # seconds between two redraws of the prompt, at least
AGEING_SECONDS = 0.1  # seconds between two checks of the age of pending messages
NEW_MESSAGE_SECONDS = 0.3  # seconds in which a message already has its final look: its ack arrives sooner
LATE_SECONDS = 3.0  # seconds after which the screen says that it waits for the server
MAX_SCREEN_QUEUED = 4 * MIB  # characters of lines for a blocked terminal, as after Ctrl-S
MAX_PENDING_ROWS = 5  # rows of pending messages, and never more than a third of the screen
MAX_ROSTER_ROWS = 2  # rows for a list of users that the user has not requested
MAX_PENDING_SHOWN = 10  # messages that are still pending at the end
MAX_HELD_EVENTS = 1000  # messages of one room that wait for its history; with more, it is not waited for
MAX_HELD_EVENTS_SIZE = 4 * MIB  # characters of them
MAX_HELD_WHISPERS = 1000  # direct messages that wait for the history
SHOWN_ON_JOIN = 20  # messages of a room's history
DEFAULT_HISTORY = 20  # messages that ``/history`` shows
MAX_SEARCHED = 5000  # messages that ``/search`` reads
MAX_FOUND = 200  # messages that ``/search`` shows
MAX_COMPLETED_WORDS = 4  # words at the end of the text that may belong to one name with spaces
MAX_NAMES_SHOWN = 10  # names in one line about users who joined or left
MAX_COMMAND_WORD = 64  # characters of a word that an error shows
MAX_REFUSED_BODY = 40  # characters of a refused message
MAX_CACHED_NAME = 256  # characters of a name whose safe form is cached
TERMINAL_DRAIN_SECONDS = 0.3  # seconds for the server to close the connection, once it has all messages
PLAIN_OUTPUT_LIMIT = 16 * MIB  # bytes of messages that wait for a blocked output
STATUS_LIMIT = MIB  # bytes of lines that wait for a blocked standard error
OUTPUT_CLOSE_SECONDS = 5.0  # seconds for writing the last of them
PROGRESS_SECONDS = 2.0  # seconds between two progress lines of `selchat send`

# -- clients: bots -------------------------------------------------------------------------------------------

MAX_INBOX_EVENTS = 10_000  # messages for a bot that reads nothing, because it only sends or is busy
MAX_INBOX_SIZE = 16 * MIB  # characters in all of them, about
EVENT_OVERHEAD = 256  # characters that an event costs in addition to its texts
MAX_ABANDONED_REQUESTS = 100  # timed-out requests that may still get a response; then the oldest is forgotten
SEND_HIGH_WATER = MIB  # unacknowledged bytes above which a bot that sends waits
INBOX_HIGH_WATER = 1000  # unread messages above which a bot reads from the server only slowly
INBOX_POLL_SECONDS = 0.05  # seconds between two reads from the server while the inbox has events
SLOW_INBOX_POLL_SECONDS = 1.0  # seconds between them above the high-water mark
DEADLINE_GRACE_SECONDS = 1.0  # seconds after which the link must have noticed its own deadline
FAILED_BOT_CLOSE_SECONDS = 1.0  # seconds to deliver queued messages when the program fails
