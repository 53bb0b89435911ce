"""Files that are no images, or odd ones, as docs/data.md says they are treated."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_image

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Files, Pixels
from keras_inception.data.preparation.inspection import drop_bad, find_bad_images, inspect
from keras_inception.data.preprocessing import decode
from keras_inception.data.sources import open_source


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """64 x 48 of a real photo."""
    return Image.fromarray(load_sample_image("china.jpg")).resize((64, 48))


def encoded(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def files(folder: Path, contents: dict[str, bytes]) -> Files:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return Files.of(folder, contents)


def reasons(images: Files) -> dict[str, str]:
    return {Path(image.name).name: image.reason for image in find_bad_images(images)}


def test_what_can_not_be_decoded_is_found_with_the_reason(
    photo: Image.Image, tmp_path: Path
) -> None:
    whole = {
        "a.jpg": encoded(photo, "JPEG"),
        "a.png": encoded(photo, "PNG"),
        "a.bmp": encoded(photo, "BMP"),
        "a.gif": encoded(photo, "GIF"),
        "a.webp": encoded(photo, "WEBP"),
    }
    cut = {f"cut {name}": content[: len(content) // 2] for name, content in whole.items()}
    other = {
        "text.jpg": b"I am text.",
        "empty.png": b"",
        "page.jpg": b"<html>404</html>",
        "photo.tif": encoded(photo, "TIFF"),
        "moving.webp": encoded(photo, "WEBP", save_all=True, append_images=[photo.rotate(90)]),
        "two-colours.bmp": encoded(photo.convert("1"), "BMP"),
    }
    images = files(tmp_path, whole | cut | other)
    (tmp_path / "gone.jpg").touch()
    images = Files.of(tmp_path, [*whole, *cut, *other, "gone.jpg"])
    (tmp_path / "gone.jpg").unlink()
    found = reasons(images)
    assert set(found) == {*cut, *other, "gone.jpg"}
    assert found["empty.png"] == "it is empty"
    assert found["gone.jpg"] == "there is no such file"
    assert found["text.jpg"] == "it is text, not an image: 'I am text.'"
    for reason in found.values():
        assert "JPEG XL" not in reason


def test_odd_kinds_are_read_as_the_docs_say(photo: Image.Image, tmp_path: Path) -> None:
    pixels = np.asarray(photo)
    sixteen_bits = tf.io.encode_png(tf.constant(pixels.astype(np.uint16) * 257)).numpy()
    palette = photo.convert("P", palette=Image.Palette.ADAPTIVE)
    moving = {"save_all": True, "append_images": [photo.rotate(90)]}
    odd = {
        "cmyk.jpg": (encoded(photo.convert("CMYK"), "JPEG", quality=95), "CMYK", 3.0),
        "16.png": (sixteen_bits, "16 bits", 0.0),
        "palette.png": (encoded(palette, "PNG"), "palette", 5.0),
        "moving.gif": (encoded(photo, "GIF", **moving), "animated", 5.0),
        "moving.png": (encoded(photo, "PNG", **moving), "animated", 0.0),
        "alpha.png": (encoded(photo.convert("RGBA"), "PNG"), "transparent", 0.0),
    }
    for name, (content, kind, difference) in odd.items():
        images = files(tmp_path, {name: content})
        assert not find_bad_images(images)
        assert dict(inspect(images).kinds) == {kind: 1}, name
        seen = decode(content).numpy().astype(int)
        assert np.abs(seen - pixels).mean() <= difference, name


def test_a_bmp_whose_numbers_are_no_grey_is_refused_in_every_graph(
    photo: Image.Image, tmp_path: Path
) -> None:
    palette = photo.convert("P", palette=Image.Palette.ADAPTIVE)
    four_bits = encoded(palette, "BMP")
    two_greys = bytearray(encoded(photo.convert("L"), "BMP"))
    two_greys[46:50] = (2).to_bytes(4, "little")  # 0 is black, and 1 is
    two_greys[58:62] = b"\xff\xff\xff\0"  # white
    packed = bytearray(four_bits)
    packed[28], packed[30] = 8, 1  # as if compressed
    refused = {
        "palette.bmp": four_bits,
        "one-colour.bmp": encoded(Image.new("RGB", (8, 8), "red").quantize(1), "BMP"),
        "white.bmp": encoded(Image.new("1", (8, 8), 1), "BMP"),
        "two-greys.bmp": bytes(two_greys),
        "packed.bmp": bytes(packed),
        "header.bmp": b"BM" + bytes(40),
    }
    read = {
        "grey.bmp": encoded(photo.convert("L"), "BMP"),
        "colour.bmp": encoded(photo, "BMP"),
        "alpha.bmp": encoded(photo.convert("RGBA"), "BMP"),
    }
    found = find_bad_images(files(tmp_path, refused | read))
    assert [Path(bad.name).name for bad in found] == list(refused)
    for bad in found:
        assert bad.reason.startswith("it is a BMP of another kind than those that are read (24 or")
        assert bad.reason.endswith("save it as PNG")
    grey = np.asarray(photo.convert("L"))[..., np.newaxis].repeat(3, axis=2)
    np.testing.assert_array_equal(decode(read["grey.bmp"]).numpy(), grey)
    for name in ("colour.bmp", "alpha.bmp"):
        np.testing.assert_array_equal(decode(read[name]).numpy(), np.asarray(photo))


def test_orientations_are_seen_in_every_format_that_has_them(
    photo: Image.Image, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.Exif()
    upright[0x0112] = 1
    images = files(
        tmp_path,
        {
            "a.jpg": encoded(photo, "JPEG", exif=exif),
            "b.jpg": encoded(photo, "JPEG", exif=upright),
            "c.jpg": encoded(photo, "JPEG"),
            "d.webp": encoded(photo, "WEBP", exif=exif),
            "e.png": encoded(photo, "PNG", exif=exif),
            "f.jpg": encoded(photo, "JPEG", exif=b"Exif\0\0nonsense"),
        },
    )
    assert inspect(images).exif_rotated == [0, 3, 4]


def test_equal_contents_have_equal_digests(photo: Image.Image, tmp_path: Path) -> None:
    one, other = encoded(photo, "JPEG"), encoded(photo, "PNG")
    digests = inspect(files(tmp_path, {"a.jpg": one, "b.jpg": one, "c.png": other})).digests
    assert digests[0] == digests[1] != digests[2]
    pixels = np.stack([np.asarray(photo)] * 2 + [np.asarray(photo.rotate(180))])
    digests = inspect(Pixels.of(pixels)).digests
    assert digests[0] == digests[1] != digests[2]


def test_bad_images_are_left_out_or_refused(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dawn" / "text.jpg").write_text("I am text.")
    examples = open_source(folder)
    bad = find_bad_images(examples.images)
    assert len(drop_bad(examples, bad, "skip")) == 40
    with pytest.raises(DataError, match=r"1 file is no image[\s\S]*text\.jpg"):
        drop_bad(examples, bad, "refuse")


def test_a_class_with_only_bad_images_is_named(tmp_path: Path) -> None:
    images = files(tmp_path, {"1.jpg": b"x", "2.jpg": b""})
    examples = Examples(("noon", "dusk"), images, np.array([0, 0]))
    with pytest.raises(DataError, match="can be decoded of: noon"):
        drop_bad(examples, find_bad_images(images), "skip")


def test_names_that_are_no_text_can_be_printed(tmp_path: Path) -> None:
    images = Files.of(tmp_path, [b"\xff.jpg"])
    (tmp_path / "\udcff.jpg").write_bytes(b"")
    (bad,) = find_bad_images(images)
    assert bad.name.encode("utf-8").endswith(b"\\udcff.jpg")
