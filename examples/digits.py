"""Write scikit-learn's bundled digits as a folder of images.

1,797 scans of handwritten digits, 8 x 8 pixels in 17 shades of grey (Alpaydin and Kaynak, UCI),
as PNG files FOLDER/train/DIGIT/NUMBER.png and FOLDER/test/DIGIT/NUMBER.png: 360 are set apart for
the test, the same share of each digit and the same scans every time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def write_digits(folder: Path) -> dict[str, int]:
    """Write the images; how many each part has."""
    scans, digits = load_digits(return_X_y=True)
    pixels = np.round(scans.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(digits)), test_size=360, stratify=digits, random_state=0
    )
    for part, indices in (("train", train), ("test", test)):
        for index in indices:
            path = folder / part / str(digits[index]) / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[index]).save(path)
    return {"train": len(train), "test": len(test)}


if __name__ == "__main__":
    print(write_digits(Path(sys.argv[1])))
