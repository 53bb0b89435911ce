"""PyTorch's files of weights: safetensors, and pickled state dicts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from keras_inception.weights.file import NOTES, File, FileError, read_notes

# What `DataParallel`, `DistributedDataParallel` and `torch.compile` put before every name.
_WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")


def open_safetensors(path: Path) -> File:
    """Open a file of safetensors; PyTorch is not needed."""
    import ml_dtypes  # noqa: F401  (gives NumPy the bfloat16 that the reader asks it for)
    from safetensors import SafetensorError, safe_open

    try:
        # The reader refuses a header that is hostile: too long, or offsets that overlap or lie
        # outside the file.
        tensors: Any = safe_open(path, framework="np")
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        size = f"{path.stat().st_size} bytes"
        raise FileError(f"{path} ({size}) is damaged, or cut short: {reason}") from error
    theirs = _without_wrappers(path, tensors.keys())
    return File(
        path,
        "safetensors",
        "pytorch",
        {name: tuple(tensors.get_slice(each).get_shape()) for name, each in theirs.items()},
        lambda name: tensors.get_tensor(theirs[name]),
        notes=read_notes((tensors.metadata() or {}).get(NOTES, "{}")),
    )


def open_pickle(path: Path, ema: bool) -> File:
    """Open a pickled state dict, or a checkpoint with one or two in it.

    Args:
        ema: of two state dicts, take the averaged one.

    Raises:
        FileError: it holds none, or PyTorch is not there to read it.
    """
    try:
        import torch
    except ImportError:
        raise FileError(
            f"{path} is a PyTorch pickle, which takes PyTorch to read: pip install torch, or save"
            " its state dict as safetensors, which takes nothing."
        ) from None
    try:
        # Never a pickle that could run code: tensors, numbers, containers, or an error.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler's on bytes that no writer wrote: it may be any
        reason = str(error).split("\n")[0] or type(error).__name__
        raise FileError(f"{path} is no state dict, or is damaged: {reason}") from error
    for key in ("state_dict_ema",) if ema else ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    else:
        if ema:
            raise FileError(f"`ema=True`, but {path} holds no state_dict_ema")
    entries = state if isinstance(state, dict) else {}
    tensors = {name: each for name, each in entries.items() if isinstance(each, torch.Tensor)}
    if not tensors:
        raise FileError(f"{path} holds no state dict of tensors")
    for name, tensor in tensors.items():
        # A tensor may repeat its values without holding them.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise FileError(
                f"{path} is damaged at {name}: it holds less than {tuple(tensor.shape)}"
            )
    theirs = _without_wrappers(path, tensors)
    return File(
        path,
        "PyTorch state dict",
        "pytorch",
        {name: tuple(tensors[each].shape) for name, each in theirs.items()},
        lambda name: _array(tensors[theirs[name]]),
    )


def _array(tensor: Any) -> Any:
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _without_wrappers(path: Path, names: Any) -> dict[str, Any]:
    """The file's names by what they are without their wrappers' prefixes."""
    theirs = {_WRAPPERS.sub("", str(name)): name for name in names}
    if len(theirs) != len(list(names)):
        raise FileError(f"{path} has a name twice, with `module.` or `_orig_mod.` and without.")
    return theirs
