"""A rolling update at a thirtieth of the Deployment's times, with gRPC's own server and client.

What is tested is the Deployment's arithmetic: where connections grow old before `preStop` ends, no
call is left on a server that is about to go. A proxy stands for kube-proxy, which sends each
*connection* to a ready pod and leaves it there.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tests.production.manifests import flags, server_container

FASTER = 30
CALL_S = 0.02

Options = list[tuple[str, int]]


class Proxy:
    """Connections to the server that is ready, for as long as both ends keep them."""

    def __init__(self) -> None:
        self.ready = 0  # the port of the server that new connections go to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.ready))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Answer(grpc.GenericRpcHandler):
    """Every method: after `CALL_S`, the server's name."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def service(self, details: Any) -> Any:
        def answer(request: bytes, context: Any) -> bytes:
            time.sleep(CALL_S)
            return self._name

        return grpc.unary_unary_rpc_method_handler(answer)


def start(name: bytes, options: Options) -> tuple[grpc.Server, int]:
    server = grpc.server(
        ThreadPoolExecutor(8), [Answer(name)], options=[("grpc.so_reuseport", 0), *options]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def update(options: Options, pre_stop_s: float) -> tuple[list[bytes], list[str]]:
    """Replace one server by another under load.

    Returns:
        Which server answered each call, and the status of each call that failed.
    """
    answers: list[bytes] = []
    failures: list[str] = []
    done = threading.Event()
    proxy = Proxy()
    (old, old_port), (new, new_port) = start(b"old", options), start(b"new", options)
    proxy.ready = old_port

    def call() -> None:
        alone = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each client
        with grpc.insecure_channel(proxy.address, alone) as channel:
            method = channel.unary_unary("/any/Call")
            while not done.is_set():
                try:
                    answers.append(method(b"", timeout=10))
                except grpc.RpcError as error:
                    failures.append(error.code().name)

    with ThreadPoolExecutor(4) as clients:
        for _ in range(4):
            clients.submit(call)
        time.sleep(0.3)
        proxy.ready = new_port  # the pod leaves the service, and preStop begins
        time.sleep(pre_stop_s)
        old.stop(grace=None).wait()  # as TF Serving ends: what is in flight is dropped
        time.sleep(0.3)
        done.set()
    new.stop(grace=None).wait()
    proxy.close()
    return answers, failures


def test_no_call_is_lost() -> None:
    server = server_container("base")
    arguments = flags(server["args"])["grpc_channel_arguments"]
    options = [
        (name, int(value) // FASTER) for name, value in (e.split("=") for e in arguments.split(","))
    ]
    pre_stop_s = int(server["lifecycle"]["preStop"]["exec"]["command"][1]) / FASTER
    answers, failures = update(options, pre_stop_s)
    assert not failures
    assert set(answers) == {b"old", b"new"}


def test_without_an_age_calls_are_lost() -> None:
    """Connections stay with the server that goes, however long `preStop` waits."""
    answers, failures = update([], pre_stop_s=0.5)
    assert failures
    assert b"old" in answers
