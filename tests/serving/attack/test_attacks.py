"""The attacks of `benchmarks/attack_list.py`, each once: how it is answered, and who notices.

What they cost in memory and time is measured by `benchmarks/serving_attacks.py`.
"""

from __future__ import annotations

import time

import pytest

from benchmarks import serving_attacks
from benchmarks.attack_list import ATTACKS, Target
from tests.serving.caller import Caller, png

# Long by their nature, or large: the program's alone.
_LONG = {
    "inputs_of_nothing_on_many_connections",
    "a_flood_of_pings",
    "a_flood_of_settings",
    "answers_that_nobody_takes",
    "calls_of_no_method",
    "calls_taken_back",
    "calls_without_a_message_on_many_connections",
    "classify_a_bomb",
    "connections_that_say_nothing",
    "content_of_100_mb",
    "gzip_body_of_1_gb",
    "gzip_of_100_mb",
    "gzip_of_2_gb_made_before",
    "gzip_of_600_mb",
    "halves_of_messages",
    "idle_connections",
    "large_batches_without_end",
    "large_images_side_by_side",
    "message_of_600_mb",
    "messages_of_100_mb",
    "more_and_more_calls_without_a_message",
    "rows_2000_of_a_pixel",
    "rows_240_of_a_pixel",
    "rows_before_wrong_ones_on_many_connections",
    "sixteen_photos",
    "slow_bodies",
    "slow_heads",
    "statuses_that_nobody_takes",
    "ten_thousand_small_images",
    "thousand_small_images",
    "gzip_taken_back",
    "slow_gzip_body_of_60_mb",
    "slow_gzip_for_health",
    "slow_gzip_of_60_mb",
    "watches_that_take_nothing",
    "watches_without_a_message",
    "a_watch_of_no_service",
    # Signatures that this model has not.
    "example_behind_unknown_fields",
    "example_of_a_negative_size",
    "example_of_many_features",
    "example_with_a_feature_twice",
    "example_with_a_name_that_is_no_text",
    "examples_on_the_wire",
    "gif_in_an_example",
    "png_in_an_example_behind_a_bmp",
    "png_in_an_example_beyond_its_end",
    "sequence_example",
}
# Those that are answered: they ask for nothing that is too much.
_ANSWERED = {
    "calls_without_a_message",
    "gif_of_64_megapixels",
    "health_without_a_message",
    "images_of_400_pixels",
    "jpeg_of_60_scans",
    "many_wide_images",
    "jpeg_of_64_megapixels",
    "png_of_64_megapixels",
    "png_of_one_row",
    "repeated_image",
    "rows_600000_of_a_pixel",  # which this model makes nothing larger of
    "requests_one_behind_the_other",
}
_REFUSALS = {
    *("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "NOT_FOUND", "UNIMPLEMENTED"),
    *("PERMISSION_DENIED", "FAILED_PRECONDITION"),
    *("400", "403", "413", "429", "501", "503", "closed", "answered"),
}


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - _LONG))
def test_attack(name: str, target: Target, good: Caller) -> None:
    answer = ATTACKS[name].run(target)
    started = time.monotonic()
    good.predict({"image_bytes": [png(0, 200, 0)]}, name="digits")
    took = time.monotonic() - started

    if name == "bytes_that_are_no_message":
        assert answer == "INTERNAL"  # as every gRPC server in C++
    elif name not in _ANSWERED:
        assert answer in _REFUSALS
    assert took < 2


def test_requests_without_an_answer_count() -> None:
    """One client is answered, the other is from 10.2 on no more."""
    answered = [["grpc", 10 + n / 10, 0.01, "", 0] for n in range(31)]
    starved = [["rest", 10 + n / 10, 0.01, "", 1] for n in range(3)]

    found = serving_attacks.with_unfinished([*answered, *starved], 12.95, 16.0)

    waiting = found[34:]
    assert found[:34] == [*answered, *starved]
    assert [each[0] for each in waiting] == ["rest"] * 27
    assert [waiting[0][2], waiting[-1][2]] == pytest.approx([5.7, 3.1])
    assert serving_attacks._times(found)["p99, ms"] > 5000
