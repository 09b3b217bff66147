"""Texts of the log, and of errors, that several test modules expect: regular
expressions, as Daemon.wait_for() takes them."""

# Both daemons
LISTENING = r"listening on \S+:(\d+) "
RELOADED = "the configuration is reloaded"
NOT_RELOADED = "nothing is reloaded: "
RELOAD_DONE = r"(the configuration|nothing) is reloaded"
TUNNEL_IDLE = "the tunnel was idle"
SHUTTING_DOWN = "is shutting down"
LAST_TUNNEL_ENDED = "its last tunnel has ended"
PATH_MTU = r"path MTU to \S+ is (\d+)"

# culvert
CONNECTED = "connected to "
MOVED = "moved: the edge is now reached from "
LOSSY = "loses packets"
NEXT_ATTEMPT = "next attempt in"
UNTRUSTED = "not signed by a trusted CA"
NO_QUIC_V1 = "the server does not support QUIC version 1"
TARGET_SILENT = "the target does not answer"

# culvert-edge
ACCEPTED = "connection from "
MIGRATED = "connection migrated to "
REFUSES_CONNECTIONS = "the edge accepts no new connections"
