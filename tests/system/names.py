"""A name server in a thread of this process (RFC 1035)."""

import contextlib
import socket
import struct
import threading

A = 1


class NameServer:
    """Names ending in .fast are 127.0.0.1; .slow ones get no answer."""

    def __init__(self, host="127.0.0.1", port=0):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, port))
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
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        question = query[12:at + 5]
        if labels[-1].lower() == "slow":
            self.unanswered.add(".".join(labels).lower())
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
