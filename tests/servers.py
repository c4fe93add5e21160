"""A web server on this machine that misbehaves on request: what tests of downloads fetch from."""

import contextlib
import http.server
import os
import socket
import struct
import threading
import time


class Server:
    """Serves `content` at `url`, behaving as `manner` says; remembers which Range each request asked for.

    | manner | what it does |
    |---|---|
    | well | goes on from the middle when asked |
    | no range | always sends the whole |
    | drops | hangs up after 100,000 bytes, each time |
    | drops once | hangs up after 120,000 bytes, the first time |
    | stalls | falls silent after 120,000 bytes, the first time |
    | drips | after 120,000 bytes a byte every 0.05 s, the first time; hangs up after 3 s |
    | drips and drops | the same, but hangs up after each of the bytes |
    | slow | 20,000 bytes a second, all the way |
    | lies | other bytes, as many |
    | page, html page | something short instead; the second says that it is HTML |
    | missing | 404 |
    | no length | does not say how many bytes come |
    | resets | sends 100,000 bytes, each time, and breaks the connection instead of ending it |
    | no middle | refuses to begin in the middle, and does not say why |
    | shifted | answers for another part than was asked |
    """

    def __init__(self, manner: str, content: bytes, name: str = "file.bin"):
        self.manner, self.content, self.ranges, self.release = manner, content, [], threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/{name}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        body = {"lies": bytes(len(self.content)), "page": b"please log in", "html page": b"<p>please log in</p>"}.get(
            self.manner, self.content
        )
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if self.manner in ("no range", "page", "html page"):
            start = 0
        if self.manner == "missing":
            return request.send_error(404)
        if start >= len(body) or start and self.manner == "no middle":
            request.send_response(416)
            if self.manner != "no middle":
                request.send_header("Content-Range", f"bytes */{len(body)}")
            request.send_header("Content-Length", "0")
            return request.end_headers()
        request.send_response(206 if start else 200)
        if self.manner == "html page":
            request.send_header("Content-Type", "text/html; charset=utf-8")
        if start:
            first = start + 1 if self.manner == "shifted" else start
            request.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if self.manner != "no length":
            request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        rest = body[start:]
        if self.manner in ("drops", "resets"):
            rest = rest[:100_000]
        if self.manner in ("stalls", "drops once", "drips and drops") and len(self.ranges) == 1:
            rest = rest[:120_000]
        if self.manner == "drips and drops" and 1 < len(self.ranges) <= 60:
            self.release.wait(0.05)
            rest = rest[:1]
        if self.manner == "slow":
            return self.trickle(request, rest, 1_000)
        if self.manner == "drips" and len(self.ranges) == 1:
            request.wfile.write(rest[:120_000])
            return self.trickle(request, rest[120_000:120_060], 1)
        request.wfile.write(rest)
        if self.manner == "stalls":
            request.wfile.flush()
            self.release.wait(10)
        if self.manner == "resets":
            request.wfile.flush()
            time.sleep(0.2)  # what was sent should arrive first
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(request.connection.detach())

    def trickle(self, request: http.server.BaseHTTPRequestHandler, rest: bytes, count: int) -> None:
        """So many bytes at a time, every 0.05 s, until they are all sent or nobody reads them any more."""
        with contextlib.suppress(OSError):
            for start in range(0, len(rest), count):
                request.wfile.write(rest[start : start + count])
                request.wfile.flush()
                self.release.wait(0.05)

    def close(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
