"""A name server in a thread of this process (RFC 1035)."""

import contextlib
import socket
import struct
import threading

A, CNAME, AAAA = 1, 5, 28
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
DATAGRAM = 512  # bytes: longer responses use TCP (RFC 1035, section 4.2.1)


class NameServer:
    """Names ending in .fast are 127.0.0.1; .slow ones get no answer."""

    def __init__(self, host="127.0.0.1", port=0):
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM)[0]
        self.sock = socket.socket(family, kind)
        self.sock.bind(address)
        self.port = self.sock.getsockname()[1]
        self.unanswered = set()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                query, peer = self.sock.recvfrom(512)
                if peer is None or not query:
                    return
                answer = self.answer(query)
                if answer:
                    self.sock.sendto(answer, peer)

    def answer(self, query):
        name, kind, end = read_name(query)
        question = query[12:end]
        if name.endswith(".slow"):
            self.unanswered.add(name)
            return None
        record = b""
        if kind == A:
            record = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 60, 4) + \
                socket.inet_aton("127.0.0.1")
        return query[:2] + struct.pack(">HHHHH", 0x8180, 1, bool(record), 0,
                                       0) + question + record

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def read_name(query):
    """The name of the question, its type, and where the question ends."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind, = struct.unpack_from(">H", query, at + 1)
    return ".".join(labels).lower(), kind, at + 5


def write_name(name):
    return b"".join(bytes((len(label),)) + label.encode()
                    for label in name.split(".")) + b"\0"


def bind_both(host, port):
    """A UDP socket and a TCP listener of one port, or of any (0) that is free
    for both."""
    while True:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, port))
        try:
            return sock, socket.create_server((host, sock.getsockname()[1]))
        except OSError:
            sock.close()
            if port:
                raise


class BadServer:
    """A name server for `zone`, of names and addresses or another name, with
    faults: types that it drops, codes by type, and TCP alone."""

    def __init__(self, zone, host="127.0.0.1", port=0, drops=(), codes=None,
                 only_tcp=False):
        self.zone, self.drops, self.codes = zone, drops, codes or {}
        self.only_tcp = only_tcp
        self.queries = []
        self.sock, self.listener = bind_both(host, port)
        self.port = self.sock.getsockname()[1]
        for serve in (self.serve, self.serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                query, peer = self.sock.recvfrom(4096)
                if peer is None or not query:
                    return
                answer = self.answer(query)
                if answer and (self.only_tcp or len(answer) > DATAGRAM):
                    end = read_name(query)[2]
                    answer = query[:2] + struct.pack(
                        ">HHHHH", 0x8380, 1, 0, 0, 0) + query[12:end]
                if answer:
                    self.sock.sendto(answer, peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.converse, daemon=True,
                                 args=self.listener.accept()[:1]).start()

    def converse(self, sock):
        with sock, sock.makefile("rb") as file, \
                contextlib.suppress(OSError):
            while len(size := file.read(2)) == 2:
                answer = self.answer(file.read(*struct.unpack(">H", size)))
                if answer:
                    sock.sendall(struct.pack(">H", len(answer)) + answer)

    def answer(self, query):
        name, kind, end = read_name(query)
        self.queries.append((name, kind))
        if kind in self.drops:
            return None
        code = self.codes.get(kind, NOERROR if name in self.zone else NXDOMAIN)
        records = list(self.records(name, kind)) if code == NOERROR else []
        return query[:2] + struct.pack(
            ">HHHHH", 0x8180 | code, 1, len(records), 0, 0) + \
            query[12:end] + b"".join(records)

    def records(self, name, kind):
        while isinstance(value := self.zone.get(name, []), str):
            yield self.record(name, CNAME, write_name(value))
            name = value
        family = socket.AF_INET6 if kind == AAAA else socket.AF_INET
        for address in value:
            if (":" in address) == (kind == AAAA):
                yield self.record(name, kind, socket.inet_pton(family, address))

    @staticmethod
    def record(name, kind, data):
        return write_name(name) + struct.pack(">HHIH", kind, 1, 0,
                                              len(data)) + data

    def close(self):
        for sock in (self.sock, self.listener):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
