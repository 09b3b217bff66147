"""Origins: TCP servers in threads of this process."""

import contextlib
import hashlib
import http.server
import re
import socket
import socketserver
import threading

from client import receive, reset
from daemon import DEADLINE

# Bytes that repeat late, and at no power of two, so that loss, duplication and
# reordering show.
BLOCK = hashlib.shake_256(b"culvert").digest((1 << 20) + 7)


def pattern(n, at=0):
    """n bytes of the pattern, from offset `at`."""
    at %= len(BLOCK)
    whole = BLOCK * ((at + n) // len(BLOCK) + 1)
    return whole[at:at + n]


def send_pattern(sock, n, at=0):
    """Sends n bytes of the pattern, from offset `at`."""
    block = memoryview(BLOCK)
    at %= len(BLOCK)
    while n > 0:
        part = block[at:at + n]
        sock.sendall(part)
        n -= len(part)
        at = 0


def expect_pattern(sock, n, at=0):
    """Receives n bytes and holds each against the pattern from `at`."""
    got = 0
    while got < n:
        data = sock.recv(min(1 << 20, n - got))
        assert data, f"the end after {got} of {n} bytes"
        start = (at + got) % len(BLOCK)
        same = BLOCK[start:start + len(data)]
        if len(same) < len(data):
            same = pattern(len(data), at + got)
        assert data == same, \
            f"other bytes between {got} and {got + len(data)}"
        got += len(data)


# ---- Behaviours of an origin ----

def echo(sock):
    while data := sock.recv(1 << 16):
        sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def close_at_once(sock):
    """Accepts and has nothing to say."""


def hold(sock):
    """Reads nothing until the other end has closed, then ends."""
    sock.recv(1, socket.MSG_PEEK)


def read_request(sock):
    """The head of a request, as text, and its body, if that has a length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive(sock, 1)
    length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
    body = receive(sock, int(length[1])) if length else b""
    return head.decode("latin-1"), body


class Origin:
    """A server that gives each connection to `handler(sock)` in a thread."""

    def __init__(self, handler, host="127.0.0.1", port=0, backlog=1024):
        self.handler = handler
        self.connections = 0
        self.errors = []
        self.sockets = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server(
            (host, port), family=family, backlog=backlog,
            dualstack_ipv6=host == "::")
        self.host = host
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(DEADLINE)
                self.connections += 1
                self.sockets.add(sock)
                threading.Thread(target=self.serve, args=(sock,),
                                 daemon=True).start()

    def serve(self, sock):
        try:
            with sock:
                self.handler(sock)
        except (OSError, EOFError, AssertionError) as error:
            self.errors.append(error)
        finally:
            self.sockets.discard(sock)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self.sockets):
            with contextlib.suppress(OSError):
                reset(sock)


@contextlib.contextmanager
def silent_port():
    """A port whose queue is full: the kernel drops packets to it."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()[1]


class Handler(http.server.BaseHTTPRequestHandler):
    """GET /bytes/N gives the pattern; POST gives back the body's hash."""

    protocol_version = "HTTP/1.1"

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.requests.append(self.path)
        if not self.path.startswith("/bytes/"):
            self.answer(self.path.encode())
            return
        n = int(self.path.split("/")[2])
        self.send_response(200)
        self.send_header("Content-Length", str(n))
        self.end_headers()
        send_pattern(self.connection, n)

    def do_POST(self):
        self.server.requests.append(self.path)
        left = int(self.headers["Content-Length"])
        digest = hashlib.sha256()
        while left > 0:
            data = self.rfile.read(min(left, 1 << 20))
            if not data:
                return
            digest.update(data)
            left -= len(data)
        self.answer(digest.hexdigest().encode())

    def log_message(self, *args):
        pass


class HttpOrigin(http.server.ThreadingHTTPServer):
    """An HTTP or, with a TLS context, HTTPS origin."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, host="127.0.0.1", context=None, handler=Handler):
        self.requests = []
        self.context = context
        self.host = host
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, 0), handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,),
                         daemon=True).start()

    def server_bind(self):
        # The base class would look up the host's name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "origin", 0

    def finish_request(self, request, client_address):
        request.settimeout(DEADLINE)
        if self.context is not None:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        """A client that goes away is not worth a trace."""

    def url(self, path="/"):
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "http" if self.context is None else "https"
        return f"{scheme}://{host}:{self.port}{path}"

    def close(self):
        self.shutdown()
        self.server_close()
