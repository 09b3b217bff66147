"""A path of UDP datagrams through this process, which sees and changes them."""

import contextlib
import selectors
import socket
import struct
import threading

from daemon import wait_until

# Versions that no implementation has: reserved ones (RFC 9000 §15).
OTHER_VERSIONS = (0x1a2a3a4a, 0x5a6a7a8a)

DATAGRAM_MAX = 65535
LONG_HEADER = 0x80


def version_negotiation(initial):
    """The answer to a packet with a long header (RFC 9000 §17.2.1)."""
    destination = initial[6:6 + initial[5]]
    rest = initial[6 + initial[5]:]
    source = rest[1:1 + rest[0]]
    return (bytes([LONG_HEADER | 0x2a]) + bytes(4) +
            bytes([len(source)]) + source +
            bytes([len(destination)]) + destination +
            struct.pack(">2I", *OTHER_VERSIONS))


class Path:
    """Forwards datagrams between clients, each by a socket of its own, and a
    server. Those longer than `largest` are lost, and while it is `deaf`
    those of clients. While it `negotiates`, it answers packets with long
    headers by Version Negotiation and does not forward them."""

    def __init__(self, server, largest=DATAGRAM_MAX):
        self.server = server
        self.largest = largest
        self.deaf = self.negotiates = False
        self.negotiated = 0
        self.up, self.down = [], []  # sizes of what either side has sent
        self.selector = selectors.DefaultSelector()
        self.sockets = {}
        self.front = self.open(("127.0.0.1", 0), None)
        self.port = self.front.getsockname()[1]
        self.end, end = socket.socketpair()
        self.selector.register(end, selectors.EVENT_READ, self.end)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def open(self, address, client):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(address)
        self.selector.register(sock, selectors.EVENT_READ, client)
        return sock

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is self.end:
                    return
                with contextlib.suppress(ConnectionRefusedError):
                    self.forward(key.fileobj, key.data)

    def forward(self, sock, client):
        data, address = sock.recvfrom(DATAGRAM_MAX)
        if client is not None:
            self.down.append(len(data))
            if len(data) <= self.largest:
                self.front.sendto(data, client)
            return
        self.up.append(len(data))
        if self.deaf:
            return
        if self.negotiates and data[0] & LONG_HEADER:
            self.negotiated += 1
            self.front.sendto(version_negotiation(data), address)
            return
        if address not in self.sockets:
            self.sockets[address] = self.open(("127.0.0.1", 0), address)
        if len(data) <= self.largest:
            self.sockets[address].sendto(data, ("127.0.0.1", self.server))

    def wait_down(self, count):
        wait_until(lambda: len(self.down) >= count, "a datagram of the server")

    def close(self):
        self.end.close()
        self.thread.join()
        for sock in self.front, *self.sockets.values():
            sock.close()
        self.selector.close()
