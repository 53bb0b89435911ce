"""Devices to train on, of one host or of many.

Every device holds the whole network and takes its share of each batch. The batch size is that of
all devices together, and batch norm's statistics are those of the whole batch unless the recipe
says otherwise, so a training gives the same numbers, but for rounding, on however many devices. On
TensorFlow these are the devices of one host (``tf.distribute.MirroredStrategy``), on JAX of one or
many (``keras.distribution``).

Keras, TensorFlow and JAX are loaded inside the functions only, so that what is wrong with the
environment can be told before.
"""

from __future__ import annotations

import contextlib
import importlib.util
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

from keras_inception.runs.fields import RecipeError
from keras_inception.runs.machine import leave_gpus_to_keras
from keras_inception.training.devices.hosts import HostError, check_hosts, connect, lost_hosts

Result = TypeVar("Result")


class Scale(TypedDict, total=False):
    """What a training is asked to run on.

    Args:
        devices: of each host, a number or ``"all"``; by default all GPUs, or one CPU.
        hosts: ``HOST:PORT`` of every host that trains, the same list on each, where there are
            several. The first writes and tells; the run's folder must be on a disk that all share.
        host_index: the number of this one among them, from 0.
    """

    devices: int | str | None
    hosts: Sequence[str]
    host_index: int | None


class DeviceError(ValueError):
    """The devices asked for are not there, or can't be used."""


class DeviceSettingError(DeviceError, RecipeError):
    """A setting of the recipe can't be used on these devices."""


@dataclass(frozen=True)
class Devices:
    """What a training runs on.

    Args:
        count: devices of all hosts together.
        host: the number of this host, from 0.
        hosts: how many there are.
        scope: makes the context in which networks are built and trained for these devices.
    """

    count: int = 1
    host: int = 0
    hosts: int = 1
    scope: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext

    @property
    def first(self) -> bool:
        """Whether this host is the one that writes the run's folder and tells of it."""
        return self.host == 0

    @property
    def shard(self) -> tuple[int, int] | None:
        """Which part of each batch this host reads, of how many; ``None`` on one device."""
        return (self.host, self.hosts) if self.count > 1 else None

    def check_batch(self, size: int) -> None:
        """Refuse a batch that can't be shared out evenly.

        Raises:
            DeviceSettingError: the devices do not divide it.
        """
        if size % self.count:
            lower = size - size % self.count
            choices = f"{lower} or {lower + self.count}" if lower else f"{self.count}"
            raise DeviceSettingError(
                f"`batch_size` is that of all {self.count} devices together and must be a multiple"
                f" of {self.count}, such as {choices}. Received: {size} images a batch"
            )

    def check_accumulation(self, steps: int) -> None:
        """Refuse to average gradients over steps where Keras can't.

        Raises:
            DeviceSettingError: there are several devices of TensorFlow's.
        """
        import keras

        # Whether a step is one that changes the weights is a branch of the graph, and TensorFlow
        # lets its devices exchange nothing within one.
        if steps > 1 and self.count > 1 and keras.config.backend() == "tensorflow":
            raise DeviceSettingError(
                "`gradient_accumulation_steps` must be 1 on several devices of TensorFlow's; on"
                " JAX (KERAS_BACKEND=jax) it need not. Received:"
                f" gradient_accumulation_steps={steps} on {self.count} devices"
            )

    def check_batch_norm(self, synchronized: bool) -> None:
        """Refuse to let each device have its own batch norm where Keras can't.

        Raises:
            DeviceSettingError: there are several devices of JAX's.
        """
        import keras

        if not synchronized and self.count > 1 and keras.config.backend() == "jax":
            raise DeviceSettingError(
                "`sync_batch_norm` must be true on several devices of JAX's, which sees one batch"
                f" over all of them. Received: sync_batch_norm=false on {self.count} devices"
            )

    def agree(self, *on: bytes) -> None:
        """Wait for the other hosts, and make sure that they are about to do the same.

        Raises:
            HostError: another host gave something else, or has gone.
        """
        if self.hosts == 1:
            return
        import numpy as np
        from jax.experimental import multihost_utils

        own = zlib.crc32(b"".join(on)) & 0x7FFFFFFF
        try:
            gathered = multihost_utils.process_allgather(np.array([own], np.int32))
        except (RuntimeError, ValueError) as error:  # nothing is done but to hear of the others
            raise lost_hosts("Another host", error) from error
        all_hosts = gathered.ravel()
        others = np.flatnonzero(all_hosts != all_hosts[0])
        if len(others):
            raise HostError(
                "Every host must be given the same images and the same recipe. Host"
                f" {', '.join(map(str, others))} has others than host 0."
            )


def check_backend(backend: str, hosts: Sequence[str] = ()) -> None:
    """Refuse a backend of Keras that training can't run on.

    Raises:
        DeviceError: with what to set instead.
    """
    if backend not in ("tensorflow", "jax"):
        raise DeviceError(
            "Training runs on Keras's TensorFlow and JAX backends."
            f" Received: KERAS_BACKEND={backend}"
        )
    if len(hosts) > 1 and backend != "jax":
        raise DeviceError(
            "Training on several hosts runs on Keras's JAX backend: set KERAS_BACKEND=jax in the"
            f" environment of each. Received: the {backend} backend"
        )
    if backend == "jax" and importlib.util.find_spec("jax") is None:
        raise DeviceError(
            "The JAX backend needs the package jax: pip install 'keras-inception[jax]', and for"
            " NVIDIA GPUs pip install 'jax[cuda13]'"
        )


def check_devices(devices: int | str | None) -> int | str | None:
    """How many devices of each host are asked for, a number where it may have come as text.

    Raises:
        DeviceError: neither a number of at least 1, nor ``all``, nor nothing.
    """
    if devices is None or devices == "all":
        return devices
    if not str(devices).isdecimal() or int(devices) < 1:
        raise DeviceError(
            f"`devices` must be a number of at least 1, or all. Received: {devices!r}"
        )
    return int(devices)


def find_devices(
    devices: int | str | None = None,
    hosts: Sequence[str] = (),
    host_index: int | None = None,
    log: Callable[[str], None] = print,
) -> Devices:
    """The devices to train on; with several hosts, connected.

    Must come before anything is computed.

    Args:
        devices: of each host, ``"all"`` that Keras's backend sees, or ``None`` for all GPUs and
            other accelerators, and a single CPU where there is none.
        hosts: ``HOST:PORT`` of every host, the same on each; hosts connect to the first.
        host_index: the number of this one among them, from 0.

    Raises:
        DeviceError: the devices are not there, or can't be used.
        HostError: the hosts can't train together.
    """
    import keras

    devices = check_devices(devices)
    check_hosts(hosts, host_index)
    backend = keras.config.backend()
    check_backend(backend, hosts)
    if backend == "tensorflow":
        return _tensorflow_devices(devices)
    leave_gpus_to_keras()
    if len(hosts) > 1 and host_index is not None:
        connect(hosts, host_index, log)
    return _jax_devices(devices)


def synchronize_batch_norm(model: Any) -> None:
    """Let TensorFlow's replicas measure the statistics of the whole batch, as JAX's do anyway."""
    import keras

    if keras.config.backend() == "tensorflow":
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


def sync_variables(model: Any) -> None:
    """Put into a model's variables what Keras's JAX trainer keeps apart while ``fit`` runs."""
    import keras

    if keras.config.backend() == "jax":
        model.jax_state_sync()


class VariableValues:
    """On JAX, what some of a model's variables are worth, also while one ``fit`` runs.

    There Keras's trainer keeps the values apart, in the order of the model's variables. To look
    them up costs little, where :func:`sync_variables` sets every variable.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self.variables = variables
        self._places: list[tuple[str, int]] = []

    def of(self, model: Any) -> list[Any]:
        """JAX arrays, in the order of the variables."""
        state = getattr(model, "_jax_state", None)
        if not state or model._jax_state_synced:
            return [each.value for each in self.variables]
        if not self._places:
            kinds = ("trainable_variables", "non_trainable_variables")
            places = {
                id(each): (kind, index)
                for kind in kinds
                for index, each in enumerate(getattr(model, kind))
            }
            self._places = [places[id(each)] for each in self.variables]
        return [state[kind][index] for kind, index in self._places]


@contextlib.contextmanager
def undistributed() -> Iterator[None]:
    """For what one host does by itself, so that Keras involves no other in it."""
    import keras

    if keras.config.backend() != "jax":
        yield
        return
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def on_one_device(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function within a distributed training as if there were one device."""
    import keras

    if keras.config.backend() == "tensorflow":
        # A strategy's scope can't be left, but is of the thread that has entered it alone.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(function, *arguments).result()
    with undistributed():
        return function(*arguments)


def _tensorflow_devices(asked: int | str | None) -> Devices:
    import tensorflow as tf

    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    names = gpus or [device.name for device in tf.config.list_logical_devices("CPU")]
    count = _count(asked, len(names), bool(gpus))
    if count == 1:
        return Devices()
    strategy = tf.distribute.MirroredStrategy(names[:count])
    return Devices(count, scope=strategy.scope)


def _jax_devices(asked: int | str | None) -> Devices:
    import jax
    import keras

    local = jax.local_devices()
    count = _count(asked, len(local), local[0].platform != "cpu")
    hosts = jax.process_count()
    if count * hosts == 1:
        return Devices()
    used = []
    for host in range(hosts):
        there = [device for device in jax.devices() if device.process_index == host]
        if len(there) < count:
            raise HostError(f"Host {host} has {len(there)} devices, and this one uses {count}.")
        used += [f"{device.platform}:{device.id}" for device in there[:count]]
    # Each host reads its own part of every batch.
    parallel = keras.distribution.DataParallel(devices=used, auto_shard_dataset=False)
    return Devices(len(used), jax.process_index(), hosts, parallel.scope)


def _count(asked: int | str | None, there: int, accelerators: bool) -> int:
    if asked is None:
        return there if accelerators else 1
    count = there if asked == "all" else int(asked)
    if count > there:
        kind = "accelerators" if accelerators else "CPU devices"
        raise DeviceError(
            f"`devices` must be at most {there}, the {kind} that Keras's backend sees here."
            f" Received: devices={count}"
        )
    return count
