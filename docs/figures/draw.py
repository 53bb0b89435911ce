"""The README's pictures: ``flow.svg`` in each language, and ``answer.png`` of the demo's answers.

    python docs/figures/draw.py

The answers are those that the demo's export gives over gRPC to two scans that training never saw:
that of which it is least sure among those that it gets right, and the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "demo"

# Grey, blue, orange, green: boxes with dark words on them, on a light page or a dark one.
COLOURS = ("#e8eaed", "#cfe3fb", "#fde3c8", "#d3efd8", "#e8eaed")
# By file: the picture's title, and of each box its own and two lines.
FLOWS = {
    "flow.svg": (
        "From a folder of images to answers: train, export, serve, ask",
        (
            ("your images", "PHOTOS/cat/1.jpg", "PHOTOS/dog/3.jpg"),
            ("train", "a run: network,", "curves, report"),
            ("export", "a SavedModel with", "preprocessing, labels"),
            ("serve", "TF Serving, or ours", "on a laptop"),
            ("ask", "gRPC, REST, browser:", "classes and scores"),
        ),
    ),
    "flow.zh-CN.svg": (
        "从图片文件夹到预测结果：训练、导出、服务、请求",  # noqa: RUF001
        (
            ("你的图片", "PHOTOS/cat/1.jpg", "PHOTOS/dog/3.jpg"),
            ("训练", "网络、曲线、报告", "都在一个文件夹里"),
            ("导出", "SavedModel", "内含预处理和标签"),
            ("服务", "TF Serving 或", "本机自带的服务器"),
            ("请求", "gRPC、REST、浏览器", "得到类别和得分"),
        ),
    ),
}
WIDTH, HEIGHT, GAP = 152, 84, 22


def draw_flow(path: Path) -> None:
    """The way from images to answers, a box a command, in the language of the file's name."""
    named, boxes = FLOWS[path.name]
    total = len(boxes) * (WIDTH + GAP) - GAP + 4
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {HEIGHT + 4}"'
        ' font-family="sans-serif" text-anchor="middle" role="img">',
        f"<title>{named}</title>",
    ]
    for number, ((title, *about), colour) in enumerate(zip(boxes, COLOURS, strict=True)):
        left = 2 + number * (WIDTH + GAP)
        middle = left + WIDTH / 2
        lines.append(
            f'<rect x="{left}" y="2" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{colour}"'
            ' stroke="#7a7f87"/>'
        )
        lines.append(
            f'<text x="{middle}" y="28" font-size="17" font-weight="bold" fill="#1b1f24">'
            f"{title}</text>"
        )
        lines += [
            f'<text x="{middle}" y="{50 + 18 * row}" font-size="12.5" fill="#1b1f24">{line}</text>'
            for row, line in enumerate(about)
        ]
        if number:
            end, y = left - 2, 2 + HEIGHT / 2
            lines.append(
                f'<path d="M{end - GAP + 6} {y}H{end - 6}m-6 -6l6 6l-6 6" fill="none"'
                ' stroke="#7a7f87" stroke-width="2.5"/>'
            )
    path.write_text("\n".join([*lines, "</svg>"]) + "\n", "utf-8")


def draw_answer(path: Path) -> None:
    """Two scans, where the network looked, and the served scores."""
    import tensorflow as tf

    from inception_serving import Client, ModelServer
    from keras_inception import grad_cam, open_run
    from keras_inception.data.preprocessing import preprocess_encoded

    scans = sorted((DEMO / "digits" / "test").glob("*/*.png"))
    with ModelServer(DEMO / "models") as server, Client(server.address, "digits") as client:
        answers = client.predict(scans)
    right = [
        (answer.score, scan, answer)
        for scan, answer in zip(scans, answers, strict=True)
        if answer.label == scan.parent.name
    ]
    shown = [min(right, key=lambda each: each[0])[1:], right[0][1:]]
    run = open_run(DEMO / "run")
    inputs = preprocess_encoded(
        tf.constant([scan.read_bytes() for scan, _ in shown]), run.preprocessing
    )
    heat = grad_cam(run.load_model(), np.asarray(inputs))
    _draw(path, shown, (np.asarray(inputs) + 1) / 2, heat)


def _draw(path: Path, shown: list[Any], pixels: np.ndarray, heat: np.ndarray) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.2), layout="constrained", facecolor="white")
    table = figure.subplots(2, 3, width_ratios=[1, 1, 2.2])
    for row, (scan, answer), picture, warm in zip(table, shown, pixels, heat, strict=True):
        row[0].imshow(picture)
        row[0].set_title(f"a scanned {scan.parent.name}", fontsize=11)
        row[1].imshow(picture)
        row[1].imshow(warm, cmap="inferno", alpha=0.6)
        row[1].set_title(f"what speaks for {answer.label}", fontsize=11)
        for axes in row[:2]:
            axes.set_axis_off()
        labels, scores = answer.labels[:5][::-1], answer.scores[:5][::-1]
        bars = row[2].barh(labels, scores, color=["#b9c4d0"] * (len(scores) - 1) + ["#2f6fbf"])
        row[2].bar_label(bars, [f"{score:.3f}" for score in scores], padding=4, fontsize=10)
        row[2].set_xlim(0, 1.12)
        row[2].set_xticks([])
        row[2].spines[["top", "right", "bottom"]].set_visible(False)
        row[2].set_title("the answer over gRPC", fontsize=11)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    for name in FLOWS:
        draw_flow(HERE / name)
    draw_answer(HERE / "answer.png")
