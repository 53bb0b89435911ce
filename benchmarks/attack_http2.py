"""HTTP/2 by hand, for what no client of gRPC sends: half of a message, or one deflated before."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW = 0, 1, 3, 4, 6, 8
_FIRST_WINDOW = 4  # SETTINGS_INITIAL_WINDOW_SIZE
_LARGEST_FRAME = 16384
_END_STREAM = 1


def _frame(kind: int, flags: int, stream: int, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data
    )


class Connection:
    """A connection to a gRPC server, on which calls are begun and bytes of messages sent.

    One that takes no messages leaves the server no window to send any in.
    """

    def __init__(self, address: str, *, takes_messages: bool = True) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        settings = b"" if takes_messages else struct.pack(">HI", _FIRST_WINDOW, 0)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings))
        self._windows = {0: 65535}
        self._first_window = 65535
        self._changed = threading.Condition()
        self._next = 1
        self._ended: set[int] = set()
        self.is_open = True
        threading.Thread(target=self._read, daemon=True).start()

    def begin(self, path: str, **headers: str) -> int:
        """Send a call's headers; its stream."""
        stream, frame = self._headers(path, headers)
        self._socket.sendall(frame)
        return stream

    def begin_and_reset(self, path: str, calls: int) -> None:
        """Send so many calls' headers, and take each back at once."""
        frames = b""
        for _ in range(calls):
            stream, frame = self._headers(path)
            frames += frame + _frame(_RESET, 0, stream, struct.pack(">I", 8))
        self._socket.sendall(frames)

    def ping(self, times: int) -> None:
        self._socket.sendall(_frame(_PING, 0, 0, bytes(8)) * times)

    def settings(self, times: int) -> None:
        self._socket.sendall(_frame(_SETTINGS, 0, 0, b"") * times)

    def _headers(self, path: str, others: Mapping[str, str] = {}) -> tuple[int, bytes]:
        stream, self._next = self._next, self._next + 2
        block = b""
        for name, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            *((name.replace("_", "-"), value) for name, value in others.items()),
        ):
            block += b"\0" + bytes([len(name)]) + name.encode()
            block += bytes([len(value)]) + value.encode()
        with self._changed:
            self._windows[stream] = self._first_window
        return stream, _frame(_HEADERS, 4, stream, block)

    def send(self, stream: int, data: bytes, *, wait_s: float = 2.0) -> int:
        """Send some of a message, as far as the server lets us; how much it was."""
        sent = 0
        while sent < len(data) and self.is_open:
            with self._changed:
                fits = self._changed.wait_for(lambda: self._fits(stream) > 0, wait_s)
                size = min(self._fits(stream), _LARGEST_FRAME, len(data) - sent)
                if not fits or size <= 0:
                    break
                self._windows[0] -= size
                self._windows[stream] -= size
            try:
                self._socket.sendall(_frame(_DATA, 0, stream, data[sent : sent + size]))
            except OSError:
                break
            sent += size
        return sent

    def finish(self, stream: int, *, wait_s: float) -> bool:
        """Say that a call's message is complete; whether it was answered."""
        with suppress(OSError):
            self._socket.sendall(_frame(_DATA, _END_STREAM, stream, b""))
        with self._changed:
            self._changed.wait_for(lambda: stream in self._ended or not self.is_open, wait_s)
            return stream in self._ended

    def close(self) -> None:
        self.is_open = False
        with suppress(OSError):  # what a thread reads is otherwise closed when it has read
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _fits(self, stream: int) -> int:
        return min(self._windows[0], self._windows[stream])

    def _read(self) -> None:
        held = b""
        try:
            while data := self._socket.recv(1 << 16):
                held += data
                while len(held) >= 9:
                    size = int.from_bytes(held[:3], "big")
                    if len(held) < 9 + size:
                        break
                    stream = int.from_bytes(held[5:9], "big") & 0x7FFFFFFF
                    self._take(held[3], held[4], stream, held[9 : 9 + size])
                    held = held[9 + size :]
        except OSError:
            pass
        with self._changed:
            self.is_open = False
            self._changed.notify_all()

    def _take(self, kind: int, flags: int, stream: int, data: bytes) -> None:
        if kind == _SETTINGS and not flags & 1:
            with self._changed:
                for at in range(0, len(data), 6):
                    name, value = struct.unpack(">HI", data[at : at + 6])
                    if name == _FIRST_WINDOW:
                        for each in self._windows:
                            self._windows[each] += (value - self._first_window) if each else 0
                        self._first_window = value
                self._changed.notify_all()
            self._socket.sendall(_frame(_SETTINGS, 1, 0, b""))
        elif kind == _PING and not flags & 1:
            self._socket.sendall(_frame(_PING, 1, 0, data))
        elif kind == _RESET or (kind == _HEADERS and flags & _END_STREAM):
            with self._changed:
                self._ended.add(stream)
                self._changed.notify_all()
        elif kind == _WINDOW:
            with self._changed:
                more = int.from_bytes(data, "big") & 0x7FFFFFFF
                self._windows[stream] = self._windows.get(stream, 0) + more
                self._changed.notify_all()
