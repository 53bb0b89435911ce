"""The server under attack: what it holds, and what its good clients see meanwhile.

    python benchmarks/serving_attacks.py [--models demo/models] [--only WORD,WORD] [--seconds 17]
        [--before 4] [--repeats 1] [--good 3] [--image FILE] [--base CHECKOUT] [--bare] [--list]
        [--output benchmarks/serving_attacks.json]

Each attack (attack_list.py) is made against a server of its own, of the digits of `make demo`, by
some threads of another process, again and again for so many seconds; good clients, in a third,
call at 10 requests a second each, three over gRPC and three over REST, for some seconds before it
and beside it: a thousand requests beside each, timed from when they were due. For each: the
memory of the server's processes (the sum of their PSS) over that with the model loaded, the good
clients' times and how many of their requests were refused, how the attack was answered, and how
long SIGTERM took while it went on. What is printed as `fails` breaks one of the limits below.
With --image the good clients send that photo: what is large takes long, and waits for other things.
With --base an older checkout's server is attacked next to each; with --bare a `grpc.server` too,
of the same limit of a message, that reads nothing of it and answers nothing: what gRPC's library
for Python leaves of good clients' times before a server has done anything. Each attack is written
when it is done; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "serving")]

import http.client  # noqa: E402
import resource  # noqa: E402

import grpc  # noqa: E402

from benchmarks.attack_list import ATTACKS, Target, of_kinds  # noqa: E402
from inception_serving import messages, tensors  # noqa: E402

MODEL = "digits"
MOST_MEMORY_MB = 1536
MOST_P99_MS, MOST_TIMES = 250, 5
GRACE_S = 33  # the server's grace, and what it may need to unload
DEADLINE_S = 20
PERIOD_S = 0.1  # of a good client


# ---- the good clients, in a process of their own ----


def be_good(target: Target, clients: int) -> None:
    """Call until stdin closes, so many clients over gRPC and over REST; a line for each request:
    when it was due, how long it took, how it ended, and whose it was."""

    def call_grpc(client: int) -> None:
        # Clients of one process share a connection, unless they are told not to.
        own = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(target.address, own)
        stub = messages.PredictionServiceStub(channel)
        request = messages.PredictRequest()
        request.model_spec.name = target.model
        images = tensors.string_tensor([target.image])
        tensors.fill_proto(request.inputs["image_bytes"], images)
        _again_and_again("grpc", client, lambda: stub.Predict(request, timeout=DEADLINE_S))

    def call_rest(client: int) -> None:
        body = json.dumps({"instances": [{"b64": b64encode(target.image).decode()}]})
        _again_and_again("rest", client, lambda: _post(target, body))

    calls = (call_grpc, call_rest) if target.rest else (call_grpc,)
    for number, call in enumerate(calls * clients):
        threading.Thread(target=call, args=(number,), daemon=True).start()
        time.sleep(PERIOD_S / 2 / clients)
    sys.stdin.read()


_PRINTING = threading.Lock()


def _again_and_again(kind: str, client: int, call: Callable[[], Any]) -> None:
    """Ten times a second, and timed from when it was due, however long the one before took: a
    server that stands still would otherwise be asked less, and look better."""
    due = time.monotonic()
    while True:
        error = ""
        try:
            call()
        except grpc.RpcError as failure:
            error = f"{failure.code().name} {failure.details()}"
        except (OSError, http.client.HTTPException) as failure:
            error = f"{type(failure).__name__} {failure}"
        took = time.monotonic() - due
        with _PRINTING:
            print(json.dumps([kind, due, took, error, client]), flush=True)
        due += PERIOD_S
        time.sleep(max(0.0, due - time.monotonic()))


def _post(target: Target, body: str) -> None:
    connection = http.client.HTTPConnection(target.rest, timeout=DEADLINE_S)
    try:
        connection.request("POST", f"/v1/models/{target.model}:predict", body)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise http.client.HTTPException(f"{response.status} {content[:100]!r}")


# ---- the attackers, in another ----


def be_bad(target: Target, name: str) -> None:
    """Attack from the first line on stdin until it closes; then print how it was answered."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    named = ATTACKS[name]
    answers: Counter[str] = Counter()
    print("ready", flush=True)
    sys.stdin.readline()

    def go_on() -> None:
        while True:
            try:
                answers[named.run(target)] += 1
            except (OSError, http.client.HTTPException) as error:
                answers[type(error).__name__] += 1
                time.sleep(0.05)

    for _ in range(named.threads):
        threading.Thread(target=go_on, daemon=True).start()
    sys.stdin.readline()
    print(json.dumps(answers), flush=True)
    sys.stdin.read()  # go on, while the server is told to stop
    os._exit(0)


# ---- the server, watched ----


BARE = f"""
import signal, threading
from concurrent.futures import ThreadPoolExecutor
import grpc
class Any(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda message, context: b"")
limit = ("grpc.max_receive_message_length", {64 << 20})
server = grpc.server(ThreadPoolExecutor(16), handlers=[Any()], options=[limit])
address = f"127.0.0.1:{{server.add_insecure_port('127.0.0.1:0')}}"
server.start()
signal.signal(signal.SIGTERM, lambda *_: server.stop(0).wait())
print("gRPC on", address, flush=True)
server.wait_for_termination()
"""


class Server:
    """One in a process of its own: it prints where it answers."""

    def __init__(self, log: Path, *arguments: str, checkout: Path = ROOT, rest: bool) -> None:
        self.log = log
        path = os.pathsep.join([str(checkout / "serving"), str(checkout)])
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
        )
        assert self._process.stdout is not None
        self.address = self.rest = ""
        for line in self._process.stdout:
            if line.startswith("gRPC on"):
                self.address = line.split()[-1]
            if found := re.search(r"REST on http://([^/]+)", line):
                self.rest = found[1]
            if self.address and (self.rest or not rest):
                return
        raise SystemExit(f"The server did not start: {log.read_text()}")

    @classmethod
    def ours(cls, log: Path, models: Path, checkout: Path) -> Server:
        """`python -m inception_serving.server` of one model."""
        flags = [
            *(f"--model_base_path={models / MODEL}", f"--model_name={MODEL}"),
            *("--port=0", f"--rest_api_port={_free_port()}"),
            "--enable_grpc_healthcheck_service",
        ]
        if checkout == ROOT:
            flags.append("--enable_reload_config=false")
        module = ("-m", "inception_serving.server")
        return cls(log, *module, *flags, checkout=checkout, rest=True)

    @classmethod
    def bare(cls, log: Path) -> Server:
        """gRPC's own, of handlers that do nothing."""
        return cls(log, "-c", BARE, rest=False)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def pss(self) -> int:
        """The bytes of its processes in memory; shared ones are divided among who shares them."""
        return sum(_pss(pid) for pid in _family(self._process.pid))

    def stop(self) -> tuple[float, int]:
        """SIGTERM; the seconds until it had ended, and its exit code."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(GRACE_S + 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return time.monotonic() - started, code

    def kill(self) -> None:
        self._process.kill()


def _family(pid: int) -> list[int]:
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):
            children += [int(child) for child in (task / "children").read_text().split()]
    return [pid, *(one for child in children for one in _family(child))]


def _pss(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Helper:
    """This program as the good clients, or as the attackers."""

    def __init__(self, target: Target, image: Path, *arguments: str) -> None:
        where = [target.address, target.rest, str(image)]
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--as", *arguments, "--target", *where],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(iter(self._process.stdout.readline, ""))

    def wait_for_line(self, count: int, timeout_s: float = 30) -> None:
        end = time.monotonic() + timeout_s
        while len(self.lines) < count and time.monotonic() < end:
            time.sleep(0.01)

    def say(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


# ---- one attack ----


def measure(
    name: str, models: Path, image: Path, checkout: Path | None, asked: dict[str, Any]
) -> dict[str, Any]:
    """Against the server of a checkout, or a bare one."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        server = Server.ours(log, models, checkout) if checkout else Server.bare(log)
        target = Target(server.address, server.rest, MODEL, image.read_bytes())
        good = Helper(target, image, "good", str(asked["good"]))
        bad = Helper(target, image, "bad", name)
        try:
            bad.wait_for_line(1)
            good.wait_for_line(10)
            return _measure(name, server, good, bad, asked["before"], asked["seconds"])
        finally:
            good.end()
            bad.end()
            server.kill()


def _measure(
    name: str, server: Server, good: Helper, bad: Helper, before_s: float, seconds: float
) -> dict[str, Any]:
    began = time.monotonic()
    time.sleep(before_s)
    loaded = peak = server.pss()
    attacked = time.monotonic()
    bad.say()
    while server.is_alive() and time.monotonic() < attacked + seconds:
        peak = max(peak, server.pss())
        time.sleep(0.03)
    bad.say()
    ended = time.monotonic()
    died = not server.is_alive()
    bad.wait_for_line(2, timeout_s=5)
    # Those that were due by then count with the time that they took in the end, or until now.
    wait_until = time.monotonic() + 3
    while server.is_alive() and time.monotonic() < wait_until:
        peak = max(peak, server.pss())
        time.sleep(0.03)
    requests = with_unfinished([json.loads(line) for line in good.lines], ended, time.monotonic())
    before = [each for each in requests if began <= each[1] < attacked]
    beside = [each for each in requests if attacked <= each[1] < ended]
    stopped, code = server.stop() if not died else (0.0, -1)
    return {
        "attack": name,
        "kind": ATTACKS[name].kind,
        "answers": json.loads(bad.lines[1]) if len(bad.lines) > 1 else {},
        "memory over the loaded model, MB": round((peak - loaded) / 2**20),
        "before": _times(before),
        "beside": _times(beside),
        "died": died,
        "SIGTERM, s": round(stopped, 1),
        "exit code": code,
        "lines of log": server.log.read_text().count("\n"),
        "times before, ms": [round(1000 * each[2], 1) for each in before],
        "times beside, ms": [round(1000 * each[2], 1) for each in beside],
    }


def with_unfinished(requests: Sequence[Any], until: float, now: float) -> list[Any]:
    """Requests, and those that their clients were due to make by a time and have had no answer to:
    without them, who is not answered at all would look as if nothing had been asked."""
    last = {client: (kind, due) for kind, due, _, _, client in requests}
    waiting = [
        [kind, due, now - due, "", client]
        for client, (kind, done) in last.items()
        for due in itertools.takewhile(
            lambda due: due < until, itertools.count(done + PERIOD_S, PERIOD_S)
        )
    ]
    return [*requests, *waiting]


def _times(requests: Sequence[Any]) -> dict[str, Any]:
    times = sorted(1000 * each[2] for each in requests)
    refused = Counter(f"{each[0]} {each[3][:80]}" for each in requests if each[3])
    return {
        "n": len(times),
        "p50, ms": _quantile(times, 0.5),
        "p99, ms": _quantile(times, 0.99),
        "refused": dict(refused),
    }


def _quantile(times: Sequence[float], part: float) -> float | None:
    ordered = sorted(times)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 1) if ordered else None


def faults(result: dict[str, Any]) -> list[str]:
    """Which limits an attack broke."""
    found = []
    before, beside = result["before"], result["beside"]
    if result["died"]:
        found.append("died")
    if result["memory over the loaded model, MB"] > MOST_MEMORY_MB:
        found.append("memory")
    limit = max(MOST_P99_MS, MOST_TIMES * (before["p99, ms"] or 0))
    if beside["p99, ms"] is None or beside["p99, ms"] > limit:
        found.append("p99")
    if beside["refused"]:
        found.append("refused")
    if result["SIGTERM, s"] > GRACE_S or result["exit code"] != 0:
        found.append("SIGTERM")
    return found


def merged(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The repeats of one attack as one: the worst of each, and the quantiles of all times."""
    result = {key: value for key, value in rounds[0].items() if not key.startswith("times ")}
    for key in ("memory over the loaded model, MB", "SIGTERM, s", "died", "exit code"):
        result[key] = max(each[key] for each in rounds)
    for when in ("before", "beside"):
        times = [one for each in rounds for one in each[f"times {when}, ms"]]
        refused: Counter[str] = Counter()
        for each in rounds:
            refused.update(each[when]["refused"])
        result[when] = {
            "n": len(times),
            "p50, ms": _quantile(times, 0.5),
            "p99, ms": _quantile(times, 0.99),
            "refused": dict(refused),
        }
    return result


def show(who: str, result: dict[str, Any]) -> None:
    before, beside = result["before"], result["beside"]
    answers = " ".join(f"{name} {count}" for name, count in result["answers"].items())
    fails = f"fails: {', '.join(result['fails'])}" if result["fails"] else "holds"
    print(
        f"{who:4} {result['attack']:44} {result['memory over the loaded model, MB']:6} MB "
        f"p99 {before['p99, ms'] or 0:6.0f} -> {beside['p99, ms'] or 0:6.0f} ms "
        f"(n={beside['n']:3}) "
        f"refused {sum(beside['refused'].values()):3} SIGTERM {result['SIGTERM, s']:4.1f} s "
        f"{fails:20} [{answers}]",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=ROOT / "demo" / "models")
    parser.add_argument("--image", type=Path, help="one that the model answers, for a digit")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose server is attacked")
    parser.add_argument("--base", type=Path, help="another checkout, attacked beside")
    parser.add_argument("--bare", action="store_true", help="gRPC's own server, attacked beside")
    parser.add_argument("--only", default="", help="names, parts of names or kinds, with commas")
    parser.add_argument("--seconds", type=float, default=17.0, help="that each attack lasts")
    parser.add_argument("--before", type=float, default=4.0, help="seconds without it")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--good", type=int, default=3, help="good clients, of gRPC and of REST")
    parser.add_argument("--list", action="store_true", help="list the attacks and end")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/serving_attacks.json")
    parser.add_argument("--as", dest="part", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--target", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        address, rest, image = options.target
        target = Target(address, rest, MODEL, Path(image).read_bytes())
        if options.part[0] == "good":
            be_good(target, int(options.part[1]))
        else:
            be_bad(target, options.part[1])
        return
    chosen = list(of_kinds(options.only))
    if options.list:
        for name, named in chosen:
            print(f"{named.kind:8} {name}")
        print(f"{len(chosen)} attacks")
        return
    image = options.image or next((ROOT / "demo" / "digits" / "test").glob("*/*.png"))
    asked = {
        "seconds": options.seconds,
        "before": options.before,
        "repeats": options.repeats,
        "good": options.good,
        "base": str(options.base),
        **({"image": options.image.name} if options.image else {}),
    }
    results = _done_before(options.output, asked)
    for name, _ in chosen:
        servers: dict[str, Path | None] = {"now": options.checkout}
        if options.base:
            servers["base"] = options.base
        if options.bare:
            servers["bare"] = None
        for who, checkout in servers.items():
            if who in results.get(name, {}):
                continue
            arguments = (name, options.models.resolve(), image, checkout, asked)
            result = merged([measure(*arguments) for _ in range(options.repeats)])
            result["fails"] = faults(result)
            show(who, result)
            results.setdefault(name, {})[who] = result
        _write(options.output, asked, results)
    print(json.dumps(_summary(results), indent=2))


def _done_before(output: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The results of a run that was stopped, if it was asked for the same."""
    if not output.exists():
        return {}
    found = json.loads(output.read_text())
    return dict(found["results"]) if found.get("asked") == asked else {}


def _write(output: Path, asked: dict[str, Any], results: dict[str, Any]) -> None:
    text = json.dumps({"asked": asked, **_summary(results), "results": results}, indent=1)
    part = output.with_suffix(".part")
    part.write_text(text + "\n")
    part.replace(output)


def _p99(measured: Sequence[dict[str, Any]]) -> list[float]:
    """Of those who were answered at all."""
    return [each["p99, ms"] for each in measured if each["n"]]


def _summary(results: dict[str, Any]) -> dict[str, Any]:
    summary = {}
    for who in ("now", "base", "bare"):
        if found := [each[who] for each in results.values() if who in each]:
            before, beside = ([each[when] for each in found] for when in ("before", "beside"))
            summary[who] = {
                "attacks": len(found),
                "hold": sum(not each["fails"] for each in found),
                "good requests beside each, at least": min(each["n"] for each in beside),
                "good requests refused": sum(sum(each["refused"].values()) for each in beside),
                "median of p99 before, ms": statistics.median(_p99(before)),
                "median of p99 beside, ms": statistics.median(_p99(beside)),
                "largest p99 beside, ms": max(_p99(beside)),
                "most memory over the loaded model, MB": max(
                    each["memory over the loaded model, MB"] for each in found
                ),
                "longest SIGTERM, s": max(each["SIGTERM, s"] for each in found),
            }
    return summary


if __name__ == "__main__":
    main()
