"""The files below `serving/` as tests read them: compose with its variables, resources by kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SERVING = Path(__file__).parents[2] / "serving"
DOCKER = SERVING / "docker"
KUBERNETES = SERVING / "kubernetes"
MONITORING = SERVING / "monitoring"
RENDERED = sorted((KUBERNETES / "rendered").glob("*.yaml"))

# ${NAME}, ${NAME:-default} and $$, as Compose reads them (compose-spec, 12-interpolation.md).
_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z_]+)(?::-([^}]*))?\})")
# Lists of an override that replace the ones below them; others are added (13-merge.md).
_REPLACED = {"command", "entrypoint", "test"}


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """The value with Compose's variables filled in."""
    if isinstance(value, dict):
        return {key: interpolate(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolate(each, variables) for each in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        dollar, name, default = match.groups()
        return dollar or variables.get(name) or default or ""

    return _VARIABLE.sub(fill, value)


def merge(below: Any, above: Any, key: str = "") -> Any:
    """One compose file laid over another."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            name: merge(below[name], above[name], name)
            if name in below and name in above
            else above.get(name, below.get(name))
            for name in {**below, **above}
        }
    if isinstance(below, list) and isinstance(above, list) and key not in _REPLACED:
        return below + above
    return above


def compose(*names: str, **variables: str) -> dict[str, Any]:
    """The compose files of these names, laid over each other in this order."""
    merged: dict[str, Any] = {}
    for name in names or ("compose.yaml",):
        merged = merge(merged, yaml.safe_load((DOCKER / name).read_text("utf-8")))
    filled: dict[str, Any] = interpolate(merged, variables)
    return filled


def resources(name: str) -> list[dict[str, Any]]:
    """The rendered resources of the base or an overlay."""
    text = (KUBERNETES / "rendered" / f"{name}.yaml").read_text("utf-8")
    return [each for each in yaml.safe_load_all(text) if each is not None]


def of_kind(name: str, kind: str) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [each for each in resources(name) if each["kind"] == kind]


def pod_spec(name: str) -> dict[str, Any]:
    """What the Deployment's pods are."""
    (deployment,) = of_kind(name, "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def server_container(name: str) -> dict[str, Any]:
    """The server among the pod's containers."""
    (server,) = (each for each in pod_spec(name)["containers"] if each["name"] == "server")
    found: dict[str, Any] = server
    return found


def flags(arguments: list[str]) -> dict[str, str]:
    """Flags by name."""
    return dict(each.removeprefix("--").split("=", 1) for each in arguments)
