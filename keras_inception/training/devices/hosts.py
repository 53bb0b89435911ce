"""Hosts that train one network together: who they are, how they meet, and who of them is gone.

Every host runs the same command. They meet at the first one's address, through JAX's own service.
When one is gone, what the others see of it is any error of the libraries beneath JAX, or nothing;
so each also changes a file of its own in the run's folder every second, and who has gone is who
has stopped. Keras and JAX are loaded inside the functions only, so that what is wrong with the
environment can be told before.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

PATIENCE_SECONDS = 300  # that hosts wait for each other when they start; JAX's own, too

_INDEX_NAMES = ("KERAS_DISTRIBUTION_PROCESS_ID", "SLURM_PROCID", "JOB_COMPLETION_INDEX")
_BEAT_SECONDS = 1.0
_SILENCE_SECONDS = 10.0  # after which, when the training has failed, a host counts as gone


class HostError(ValueError):
    """The hosts named can't train together, or one of them is gone."""


def given_hosts(
    hosts: str | None, host_index: int | None, environment: Mapping[str, str]
) -> tuple[list[str], int | None]:
    """The hosts and the number of this one, from the command line or else from the environment.

    The environment's names are Keras's own, and for the number SLURM's and Kubernetes' (of an
    Indexed Job) as well.

    Raises:
        HostError: they are no addresses, or the number is none of theirs.
    """
    text = hosts or environment.get("KERAS_DISTRIBUTION_JOB_ADDRESSES") or ""
    addresses = [each.strip() for each in text.split(",") if each.strip()]
    numbers = [environment[name] for name in _INDEX_NAMES if environment.get(name, "").isdecimal()]
    if host_index is None and addresses and numbers:
        host_index = int(numbers[0])
    check_hosts(addresses, host_index)
    return addresses, host_index


def check_hosts(hosts: Sequence[str], host_index: int | None) -> None:
    """Refuse addresses that are none, and a number that is none of theirs.

    Raises:
        HostError: with the rule.
    """
    for host in hosts:
        name, _, port = host.rpartition(":")
        if not name or not port.isdecimal() or not 0 < int(port) < 65536:
            raise HostError(f"`hosts` must be HOST:PORT,HOST:PORT,... Received: {host!r}")
    if len(hosts) > 1 and (host_index is None or not 0 <= host_index < len(hosts)):
        raise HostError(
            f"`host_index` must be the number of this host among the {len(hosts)}, from 0 to"
            f" {len(hosts) - 1}. Received: host_index={host_index}"
        )
    if not hosts and host_index is not None:
        raise HostError(f"`host_index` needs `hosts`. Received: host_index={host_index}")


def connect(hosts: Sequence[str], index: int, log: Callable[[str], None]) -> None:
    """Join the others; JAX then sees the devices of all. Must come before it computes anything.

    Raises:
        HostError: the first host does not listen.
    """
    import jax

    patience = f"for up to {PATIENCE_SECONDS // 60} minutes"
    if index == 0:
        log(f"Host 0 of {len(hosts)}: waiting for the others {patience}")
    else:
        log(f"Host {index} of {len(hosts)}: connecting to host 0, {hosts[0]}, {patience}")
        _wait_for(hosts[0])
    configure: Callable[[str, str], None] = jax.config.update
    configure("jax_cpu_collectives_implementation", "gloo")
    # By itself JAX would take its place among the tasks of SLURM or MPI, with one GPU of the host.
    jax.distributed.initialize(
        hosts[0],
        len(hosts),
        index,
        cluster_detection_method="deactivate",
        initialization_timeout=PATIENCE_SECONDS,
    )


def connected() -> bool:
    """Whether this process is one of several that train together."""
    if "jax" not in sys.modules:
        return False
    import jax

    return bool(jax.distributed.is_initialized())


class Heartbeats:
    """The signs of life of the hosts: a file of each, changed every second within the context.

    Args:
        folder: on a disk that all share; made here, and removed by the last to leave.
        host: the number of this one, from 0.
        hosts: how many there are; of a single one nothing is written.
    """

    def __init__(self, folder: Path, host: int, hosts: int) -> None:
        self.folder = folder
        self.host = host
        self.others = [other for other in range(hosts) if other != host]
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeats", daemon=True)

    def __enter__(self) -> Heartbeats:
        if self.others:
            self.folder.mkdir(exist_ok=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.others:
            self._left.set()
            self._thread.join()
            with contextlib.suppress(OSError):  # others are still there
                (self.folder / str(self.host)).unlink(missing_ok=True)
                self.folder.rmdir()

    def gone(self) -> list[int]:
        """The other hosts that have stopped; waits for the next sign of life of each."""
        before = {other: self._read(other) for other in self.others}
        until = time.monotonic() + _SILENCE_SECONDS
        silent = list(self.others)
        while silent and time.monotonic() < until:
            time.sleep(_BEAT_SECONDS / 4)
            silent = [other for other in silent if self._read(other) in ("", before[other])]
        return silent

    def wait_for_first(self, done: Callable[[], bool]) -> None:
        """Wait until host 0 has done something, as long as it lives.

        Raises:
            HostError: it has not, and has given no sign of life for ``PATIENCE_SECONDS``.
        """
        last, since = self._read(0), time.monotonic()
        while not done():
            time.sleep(_BEAT_SECONDS)
            now = self._read(0)
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                raise HostError(
                    f"Host 0 has given no sign of life for {PATIENCE_SECONDS:g} seconds, and has"
                    " not kept the result; what it said last tells why. When that is put right,"
                    " start all hosts again with --resume."
                )

    def _beat(self) -> None:
        beats = 0
        while not self._left.wait(_BEAT_SECONDS):
            beats += 1
            with contextlib.suppress(OSError):  # a full disk is told by what it is in the way of
                (self.folder / str(self.host)).write_text(f"{os.getpid()} {beats}")

    def _read(self, host: int) -> str:
        with contextlib.suppress(OSError):
            return (self.folder / str(host)).read_text()
        return ""


@contextlib.contextmanager
def telling_of_lost_hosts(heartbeats: Heartbeats) -> Iterator[None]:
    """Say in a line that other hosts are gone, where that is what ended the training.

    Raises:
        HostError: they are.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        # JAX's own are RuntimeErrors, or plain ValueErrors; ours are kinds of ValueError.
        ours = isinstance(error, ValueError) and type(error) is not ValueError
        if ours or not (gone := heartbeats.gone()):
            raise
        raise lost_hosts(f"Host {', '.join(map(str, gone))}", error) from error


def lost_hosts(who: str, error: Exception) -> HostError:
    """What to say where hosts are gone: ``who``, and the error that this one met."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return HostError(
        f"{who} has gone; what it said last tells why. When that is put right, start all hosts"
        f" again with --resume. ({lines[0][:300]})"
    )


def leave(code: int) -> NoReturn:
    """End this process at once; the other hosts notice.

    In the ordinary way it would wait for them, who wait for it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _wait_for(host: str) -> None:
    """Until a host listens; JAX would end the process with a page of addresses."""
    name, _, port = host.rpartition(":")
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection((name.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise HostError(
                    f"Host 0 does not listen at {host}: {error}. Does it run, with the same"
                    " --hosts and --host-index 0, and can it be reached from here?"
                ) from error
            time.sleep(0.5)
