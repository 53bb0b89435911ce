"""What each kind of variation does to an image, and that its seed alone decides."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from keras_inception.data.augmentation import colour
from keras_inception.data.augmentation.augment import changes
from keras_inception.data.augmentation.filters import sharpen
from keras_inception.data.augmentation.rand_augment import rand_augment
from keras_inception.data.augmentation.seeded import Seeds, draw
from keras_inception.data.augmentation.settings import Augmentation

SIZE = 24


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A smooth picture in colour, far from black and white."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    return (80 + 90 * np.stack([x, y, x * y], axis=-1)).astype(np.float32)


def varied(image: np.ndarray, count: int, **settings) -> np.ndarray:
    change = tf.function(changes(Augmentation(**settings)))
    return np.stack([change(image, tf.constant([7, seed])).numpy() for seed in range(count)])


@pytest.mark.parametrize(
    "settings",
    [
        {"flip": True},
        {"shift_pixels": 3},
        {"brightness": 0.2},
        {"saturation": 0.5},
        {"contrast": 0.5},
        {"hue": 0.2},
        {"erase": 0.5},
        {"brightness": 0.2, "saturation": 0.5, "contrast": 0.5, "hue": 0.2},
    ],
    ids=str,
)
def test_each_setting_shows_and_the_seed_alone_decides(image: np.ndarray, settings: dict) -> None:
    first, again = varied(image, 8, **settings), varied(image, 8, **settings)
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 255
    assert len(np.unique(first.sum(axis=(0, 3)).round())) > 1
    assert not np.allclose(first, image)
    assert len(np.unique(first.reshape(8, -1), axis=0)) > 1


def test_without_settings_nothing_changes(image: np.ndarray) -> None:
    np.testing.assert_array_equal(varied(image, 2), [image, image])


def test_brightness_moves_the_mean_evenly_within_its_range(image: np.ndarray) -> None:
    shifts = (varied(image, 300, brightness=32 / 255) - image).mean(axis=(1, 2, 3))
    assert shifts.min() >= -32 and shifts.max() <= 32
    assert shifts.min() < -29 and shifts.max() > 29
    assert abs(shifts.mean()) < 3.2  # three standard errors
    assert shifts.std() == pytest.approx(32 / 3**0.5, rel=0.1)


def test_contrast_is_about_the_mean_and_saturation_leaves_the_largest_channel(
    image: np.ndarray,
) -> None:
    contrasted = varied(image, 100, contrast=0.5)
    np.testing.assert_allclose(
        contrasted.mean(axis=(1, 2)), np.tile(image.mean(axis=(0, 1)), (100, 1)), rtol=1e-4
    )
    spread = contrasted.std(axis=(1, 2)) / image.std(axis=(0, 1))
    assert 0.5 <= spread.min() < 0.55 and 1.45 < spread.max() <= 1.5
    saturated = varied(image, 100, saturation=0.5)
    np.testing.assert_allclose(
        saturated.max(axis=3), np.tile(image.max(axis=2), (100, 1, 1)), rtol=1e-4
    )


def test_hue_turns_the_colour_and_keeps_its_brightest_channel(image: np.ndarray) -> None:
    exif_rotated = varied(image, 20, hue=0.2)
    np.testing.assert_allclose(exif_rotated.max(3), np.tile(image.max(2), (20, 1, 1)), rtol=1e-3)
    assert (exif_rotated.argmax(axis=3) != image.argmax(axis=2)).any()


def test_the_colours_come_in_four_orders(
    image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmentation = Augmentation(brightness=0.4, saturation=0.9, contrast=0.9, hue=0.3)
    seeds = [tf.constant([1, number]) for number in range(40)]
    found = [colour.change_colour(image, seed, augmentation).numpy() for seed in seeds]
    orders, uses = colour._ORDERS, []
    assert {tuple(sorted(order)) for order in orders} == {
        ("brightness", "contrast", "hue", "saturation")
    }
    one_each = []
    for order in orders:
        monkeypatch.setattr(colour, "_ORDERS", (order,) * 4)
        one_each.append([colour.change_colour(image, seed, augmentation).numpy() for seed in seeds])
    for number, result in enumerate(found):
        matches = [np.allclose(each[number], result, atol=1e-3) for each in one_each]
        assert any(matches)
        if sum(matches) == 1:  # two orders may come to the same
            uses.append(matches.index(True))
    assert len(uses) > 10
    assert set(uses) == {0, 1, 2, 3}


def test_a_shift_moves_by_whole_pixels_and_mirrors_the_edge(image: np.ndarray) -> None:
    shifted = varied(image, 60, shift_pixels=2)
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")
    places = {
        (top, left): padded[top : top + SIZE, left : left + SIZE]
        for top in range(5)
        for left in range(5)
    }
    seen = set()
    for each in shifted:
        (place,) = [at for at, expected in places.items() if np.array_equal(each, expected)]
        seen.add(place)
    assert {top for top, _ in seen} == {left for _, left in seen} == set(range(5))


def test_a_shift_beyond_the_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"below the network's input size, 24 pixels"):
        changes(Augmentation(shift_pixels=24))(tf.constant(image), tf.constant([1, 2]))


def test_erasing_hits_its_share_of_images_and_its_part_of_them(image: np.ndarray) -> None:
    erased = (varied(image, 200, erase=0.3) != image).any(axis=3)
    hit = erased.any(axis=(1, 2))
    assert 0.2 < hit.mean() < 0.4
    parts = erased[hit].mean(axis=(1, 2))
    assert parts.min() < 0.1 and 0.2 < parts.max() <= 0.36
    for each in erased[hit]:
        rows, columns = each.any(axis=1), each.any(axis=0)
        assert each[np.ix_(rows, columns)].all()  # a rectangle


@pytest.fixture(scope="module")
def randomly(image: np.ndarray) -> np.ndarray:
    """One operation of RandAugment for each of 120 seeds."""
    augment = tf.function(rand_augment(1, 0.9))
    return np.stack([augment(image, tf.constant([3, seed])).numpy() for seed in range(120)])


def test_rand_augment_does_what_the_seed_says(image: np.ndarray, randomly: np.ndarray) -> None:
    assert randomly.min() >= 0 and randomly.max() <= 255
    same = np.isclose(randomly, image, atol=1e-3).all(axis=(1, 2, 3))
    assert 1 <= same.sum() <= 25  # one of fourteen operations is none
    eager = rand_augment(1, 0.9)(image, tf.constant([3, 5])).numpy()
    np.testing.assert_allclose(eager, randomly[5], atol=1e-3)


def test_rand_augment_turns_and_shifts_both_ways(image: np.ndarray, randomly: np.ndarray) -> None:
    # The mean of what leaves brightness, and of what makes brighter or darker.
    shifts = (randomly - image).mean(axis=(1, 2, 3))
    assert (shifts > 15).any() and (shifts < -15).any()
    left = randomly[:, :, : SIZE // 2, 0].mean(axis=(1, 2)) - image[:, : SIZE // 2, 0].mean()
    right = randomly[:, :, SIZE // 2 :, 0].mean(axis=(1, 2)) - image[:, SIZE // 2 :, 0].mean()
    moved = np.sign(left - right)[np.abs(left - right) > 5]
    assert {-1, 1} <= set(moved.tolist())


def test_the_strength_of_rand_augment_counts(image: np.ndarray, randomly: np.ndarray) -> None:
    augment = tf.function(rand_augment(1, 0.1))
    weakly = np.stack([augment(image, tf.constant([3, seed])).numpy() for seed in range(60)])
    assert np.abs(weakly - image).mean() < 0.7 * np.abs(randomly - image).mean()


def test_keras_layers_draw_other_numbers_each_time_and_the_same_again() -> None:
    one, other = Seeds(tf.constant([1, 2])), Seeds(tf.constant([1, 2]))
    drawn = [one.next().numpy().tolist() for _ in range(3)]
    assert drawn == [other.next().numpy().tolist() for _ in range(3)]
    assert len({tuple(each) for each in drawn}) == 3
    first = draw(tf.constant([1, 2], tf.int64), 5)
    np.testing.assert_array_equal(first[:2], draw(tf.constant([1, 2], tf.int64), 2))


def test_the_default_varies_nothing() -> None:
    on = {
        field.name: getattr(Augmentation(), field.name)
        for field in dataclasses.fields(Augmentation)
    }
    neutral = {"crop_area": 1.0, "crop_aspect": 4 / 3, "rand_strength": 0.5}
    assert {name: value for name, value in on.items() if value} == neutral


def test_what_is_erased_becomes_values_drawn_evenly(image: np.ndarray) -> None:
    """Keras's noise is of a normal distribution, half of it cut off at 0."""
    result = varied(image, 200, erase=1.0)
    noise = result[(result != image).any(axis=3)]
    assert noise.mean() == pytest.approx(127.5, abs=2)
    shares, _ = np.histogram(noise, bins=5, range=(0, 255))
    assert shares.min() > 0.9 * shares.max()
    assert (noise == 0).mean() < 0.01


@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0, 1.9])
def test_sharpness_is_pils(image: np.ndarray, factor: float) -> None:
    """At 0.1 a border of 200 became 158, and a corner 131."""
    grey = np.full((8, 9, 3), 200, np.float32)
    np.testing.assert_allclose(sharpen(grey, tf.constant(factor)), grey, rtol=1e-5)
    pixels = image.astype(np.uint8)
    expected = ImageEnhance.Sharpness(Image.fromarray(pixels)).enhance(factor)
    found = sharpen(tf.constant(pixels, tf.float32), tf.constant(factor))
    np.testing.assert_allclose(found, np.asarray(expected, np.float32), atol=2.0)


def test_rand_augments_brightness_is_a_factor(image: np.ndarray) -> None:
    """Black stays black; Keras's layer adds a value."""
    augment = tf.function(rand_augment(1, 0.9))
    black = np.zeros_like(image)
    seen = np.stack([augment(black, tf.constant([3, seed])).numpy() for seed in range(60)])
    changed = seen[(seen != 0).any(axis=(1, 2, 3))]
    assert np.isin(changed, [0, 255]).all()  # what solarizing and posterizing make of it


def test_vertical_flips_rotation_and_what_takes_colour(image: np.ndarray) -> None:
    flipped = varied(image, 40, flip_vertical=True)
    kinds = {each.tobytes() for each in flipped}
    assert kinds == {image.tobytes(), image[::-1].tobytes()}
    turned = varied(image, 40, rotate_degrees=20.0)
    middle = slice(SIZE // 2 - 2, SIZE // 2 + 2)
    assert np.abs(turned - image).mean() > np.abs(turned - image)[:, middle, middle].mean()
    assert len({each.tobytes() for each in turned}) == 40
    grey = varied(image, 100, grey=0.4)
    without = np.isclose(grey[..., 0], grey[..., 1]).all(axis=(1, 2))
    assert 0.25 < without.mean() < 0.55
    np.testing.assert_allclose(grey[~without], np.broadcast_to(image, grey[~without].shape))


def test_blur_keeps_the_mean_and_evens_out(image: np.ndarray) -> None:
    blurred = varied(image, 60, blur=0.5)
    hit = (np.abs(blurred - image) > 1e-3).any(axis=(1, 2, 3))
    assert 0.3 < hit.mean() < 0.7
    assert (blurred[hit].std(axis=(1, 2, 3)) < image.std()).all()
    flat = varied(np.full((SIZE, SIZE, 3), 77, np.float32), 5, blur=1.0)
    np.testing.assert_allclose(flat, 77, rtol=1e-4)


def test_pca_noise_is_along_the_components() -> None:
    grey = np.full((SIZE, SIZE, 3), 128, np.float32)
    moves = varied(grey, 400, pca_noise=0.1)[:, 0, 0] - 128
    components = np.array(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    np.testing.assert_allclose((moves @ components).std(axis=0), [5.546, 0.479, 0.115], rtol=0.15)


def test_a_brightness_factor_leaves_black(image: np.ndarray) -> None:
    factors = varied(np.full((SIZE, SIZE, 3), 100, np.float32), 60, brightness_factor=0.4) / 100
    assert 0.6 <= factors.min() < 0.7 and 1.3 < factors.max() <= 1.4
    np.testing.assert_array_equal(varied(np.zeros_like(image), 5, brightness_factor=0.4), 0)
