"""The whole job on real images: folder, training, evaluation, export, server, predictions.

Every step is a command that a user would type, shown as it is run; only the digits are written
and the server is called from here. Everything made is in the folder ``demo``.
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from digits import write_digits

FOLDER = Path("demo")
IMAGES, RUN, MODELS, NAME = FOLDER / "digits", FOLDER / "run", FOLDER / "models", "digits"
TOLERANCE = 1e-4
_STEPS = 7
_step = 0


@contextmanager
def step(about: str) -> Iterator[None]:
    """Show what comes, and how long it took."""
    global _step
    _step += 1
    print(f"\n\033[1m[{_step}/{_STEPS}] {about}\033[0m", flush=True)
    start = time.monotonic()
    yield
    print(f"({time.monotonic() - start:.1f} s)", flush=True)


def command(*arguments: str | Path) -> list[str]:
    """A ``keras-inception`` command, shown."""
    print("$ keras-inception " + shlex.join(map(str, arguments)), flush=True)
    return [sys.executable, "-m", "keras_inception", *map(str, arguments)]


@contextmanager
def server() -> Iterator[str]:
    """``keras-inception serve`` on free ports; the address of gRPC."""
    process = subprocess.Popen(
        command("serve", MODELS, "--port", "0", "--rest-port", "0"),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("gRPC on "):
                yield line.split()[-1]
                break
        else:
            raise SystemExit("The server did not start; its last lines are above.")
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
    print(f"The server stopped with exit code {code}.")
    if code:
        raise SystemExit(1)


def main() -> None:
    """Run the job; exits with 1 if the served answers are not the local ones."""
    start = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)

    with step("A folder of images: scikit-learn's scans of handwritten digits"):
        counts = write_digits(IMAGES)
        print(f"{IMAGES}: {counts['train']} images to train on, {counts['test']} held out")

    with step("Train an Inception v1 made small, for images of 32 x 32 pixels"):
        run = command("train", IMAGES / "train", "--recipe", "small", "--output", RUN)
        subprocess.run(run, check=True)

    with step("Evaluate it on the images held out"):
        subprocess.run(command("evaluate", RUN, IMAGES / "test"), check=True)

    with step("Export it as a SavedModel"):
        export = command("export", RUN, MODELS, "--name", NAME, "--top", "10")
        subprocess.run(export, check=True)

    with step("The Keras model's own answers, in a process of its own"):
        local_command = command(
            "predict", IMAGES / "test", "--with", RUN, "--top", "10", "--format", "json"
        )
        answer = subprocess.run(local_command, check=True, stdout=subprocess.PIPE, text=True)
        local = {each["image"]: each for each in json.loads(answer.stdout)}
        print(f"{len(local)} images")

    with step("Serve it, and ask it over gRPC"), server() as address:
        difference = ask(address, local)

    with step("Compare"):
        print(f"Largest difference of a probability, served from local: {difference:.1e}")
        print(f"Pictures of the predictions: {FOLDER / 'predictions.png'}")
        print(f"Curves of the training: {RUN / 'curves.png'}")
        if not difference <= TOLERANCE:
            raise SystemExit(f"The served answers differ by more than {TOLERANCE:g}.")

    print(f"""
Done in {time.monotonic() - start:.0f} s. Next, with your own images in PHOTOS/CLASS/IMAGE:

  . .venv/bin/activate
  keras-inception train PHOTOS --recipe quick --output runs/photos
  keras-inception predict ANOTHER.jpg --with runs/photos
  keras-inception export runs/photos models --name photos && keras-inception serve models
""")


def ask(address: str, local: dict[str, dict[str, object]]) -> float:
    """Send every held-out image, show some, draw them; the largest difference from ``local``."""
    from inception_serving.server.startup import load_tensorflow_quietly

    load_tensorflow_quietly()
    from inception_serving import Client
    from inception_serving.commands.predict import print_predictions
    from keras_inception.inference.predict import Prediction, draw_predictions

    with Client(address, model=NAME) as client:
        shown, truths = [], []
        # Two of each digit, one request each, so that the time is a caller's.
        for folder in sorted((IMAGES / "test").iterdir()):
            for path in sorted(folder.iterdir())[:2]:
                sent = time.perf_counter()
                result = client.predict(path.read_bytes())
                milliseconds = (time.perf_counter() - sent) * 1000
                shown.append(
                    Prediction(str(path), result.labels[:3], result.scores[:3], milliseconds)
                )
                truths.append(folder.name)
        print_predictions(shown, truths)
        draw_predictions(shown, FOLDER / "predictions.png")

        served = client.predict([Path(path) for path in local])
    difference = 0.0
    for (path, expected), answer in zip(local.items(), served, strict=True):
        probabilities = dict(zip(expected["labels"], expected["scores"], strict=True))
        assert len(answer.labels) == len(probabilities), path
        for label, score in zip(answer.labels, answer.scores, strict=True):
            difference = max(difference, abs(score - probabilities[label]))
    print(f"{len(served)} images sent as PNG bytes")
    return difference


if __name__ == "__main__":
    main()
