"""Many hosts that train one network together: who they are, how they meet, and what one that fails
does to the others.

Every host runs the same command. They meet at the first one's address, through JAX's own service,
which also notices when one is gone. Keras and JAX are loaded inside the functions only, so that
what is wrong with the environment can be told before.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn

PATIENCE_SECONDS = 300  # that hosts wait for each other when they start; JAX's own, too

_INDEX_NAMES = ("KERAS_DISTRIBUTION_PROCESS_ID", "SLURM_PROCID", "JOB_COMPLETION_INDEX")
_SIGNS_OF_LOSS = ("Gloo", "NCCL", "UNAVAILABLE:", "heartbeat", "coordination service")


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


@contextlib.contextmanager
def telling_of_lost_hosts(hosts: int) -> Iterator[None]:
    """Say in a line that another host is gone, where JAX has noticed.

    Raises:
        HostError: it is.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        said = str(error).strip()
        if hosts == 1 or not any(sign in said for sign in _SIGNS_OF_LOSS):
            raise
        raise HostError(
            "Another host has gone; what it said last tells why. When that is put right, start all"
            f" hosts again with --resume. ({said.splitlines()[0][:300]})"
        ) from error


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
