"""A server of files on this machine that can be cut off, redirect and change its mind."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Server:
    """What is served, and what was asked for.

    Args:
        files: by path, ``"/host/path"``.
        redirects: from one path to another.
        cut_after: bytes after which the connection is cut, once.
        slow: seconds before each answer.
        ranges: whether it resumes.
        shifted: bytes that a resumed answer begins too late, once.
        requests: path, Range and If-Range of each request, in order.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    slow: float = 0.0
    ranges: bool = True
    shifted: int = 0
    requests: list[tuple[str, str | None]] = field(default_factory=list)


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    """A server on a free port, until the block ends."""
    served = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append((self.path, self.headers["Range"]))
            time.sleep(served.slow)
            if self.path in served.redirects:
                self.send_response(302)
                self.send_header("Location", served.redirects[self.path])
                self.end_headers()
                return
            content = served.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
            start = 0
            if served.ranges and self.headers["Range"] and self.headers["If-Range"] == tag:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("ETag", tag)
            if start:
                start += served.shifted
                served.shifted = 0
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            cut, served.cut_after = served.cut_after, None
            self.wfile.write(content[start : start + cut] if cut else content[start:])
            if cut:
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            """Nothing on standard error."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
