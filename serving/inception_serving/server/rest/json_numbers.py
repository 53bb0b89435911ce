"""Numbers as TF Serving writes them: those of answers, and those of a request in an error's text.

Sources: tensorflow_serving/util/json_tensor.cc, WriteDecimal; and rapidjson 1.1.0, internal/dtoa.h
and internal/diyfp.h.
"""

from __future__ import annotations

import math

import numpy as np

from inception_serving.tensors import Tensor

_SIGNIFICANT = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}


def write_decimals(tensor: Tensor) -> list[str]:
    """Each number of a float32 or float64 array: six digits where they say all, else all of them.

    TF Serving's threads have no denormal numbers, so they are zeros; NaN and infinities are
    numbers here.
    """
    flat = flush_denormals(tensor.ravel())
    values = flat.tolist()
    texts = ("%g " * len(values) % tuple(values)).split()
    with np.errstate(over="ignore"):
        read = np.array([float(text) for text in texts]).astype(flat.dtype)
    places = np.flatnonzero(read != flat)
    exact = f"%.{_SIGNIFICANT[tensor.dtype]}g " * len(places) % tuple(flat[places].tolist())
    for place, text in zip(places.tolist(), exact.split(), strict=True):
        texts[place] = text
    if not np.isfinite(flat).all():
        for place in np.flatnonzero(~np.isfinite(flat)).tolist():
            texts[place] = _name(values[place])
        return [text if text[-1] in "Ny" else _with_point(text) for text in texts]
    return [_with_point(text) for text in texts]


def flush_denormals(flat: Tensor) -> Tensor:
    """The same numbers, with zeros of their signs for those that are closer to it than normal."""
    smallest = np.finfo(flat.dtype).smallest_normal
    is_denormal = (np.abs(flat) < smallest) & (flat != 0)
    return np.where(is_denormal, np.copysign(flat.dtype.type(0), flat), flat)


def _with_point(text: str) -> str:
    return text if "." in text or "e" in text else text + ".0"


def _name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


# ---- an error's text ----


def show_double(value: float) -> str:
    """A finite double as RapidJSON writes it, which is nearly always the shortest that is it."""
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return sign + "0.0"
    digits, exponent = _grisu2(abs(value))
    return sign + _prettify(digits, exponent)


def _prettify(digits: str, exponent: int) -> str:
    point = len(digits) + exponent
    if exponent >= 0 and point <= 21:
        return digits + "0" * exponent + ".0"
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{point - 1}"


def _grisu2(value: float) -> tuple[str, int]:
    """The digits of a positive double, and the power of ten that they are to be multiplied by.

    Grisu2 (Loitsch, "Printing floating-point numbers quickly and accurately with integers", 2010),
    in numbers of 64 bits and a power of two, (f, e).
    """
    fraction, e = math.frexp(value)
    f, e = int(fraction * 2**53), e - 53
    if e < -1074:
        f, e = f >> (-1074 - e), -1074
    upper, upper_e = _normalize(2 * f + 1, e - 1)
    lower, lower_e = (4 * f - 1, e - 2) if f == 2**52 else (2 * f - 1, e - 1)
    lower <<= lower_e - upper_e
    power = _decimal_power(upper_e)
    scale, scale_e = _power_of_ten(power)
    middle = _times(_normalize(f, e)[0], scale)
    upper = _times(upper, scale) - 1
    lower = _times(lower, scale) + 1
    digits, exponent = _generate(upper, upper - lower, upper - middle, -(upper_e + scale_e + 64))
    return digits, exponent - power


def _generate(upper: int, delta: int, distance: int, shift: int) -> tuple[str, int]:
    """Digits of `upper`, whose last `shift` bits are behind the point, until `delta` is closer."""
    whole, rest = upper >> shift, upper & ((1 << shift) - 1)
    digits = ""
    text = str(whole)
    for place, digit in enumerate(text):
        kappa = len(text) - place - 1
        digits = (digits + digit).lstrip("0")
        left = (int(text[place + 1 :] or "0") << shift) + rest
        if left <= delta:
            return _round(digits, delta, left, 10**kappa << shift, distance), kappa
    kappa = 0
    while True:
        rest, delta, kappa = rest * 10, delta * 10, kappa - 1
        digits = (digits + str(rest >> shift)).lstrip("0")
        rest &= (1 << shift) - 1
        if rest < delta:
            distance *= 10**-kappa if kappa > -9 else 0
            return _round(digits, delta, rest, 1 << shift, distance), kappa


def _round(digits: str, delta: int, rest: int, unit: int, distance: int) -> str:
    """Let the last digit come down towards the number itself."""
    last = int(digits[-1])
    while (
        rest < distance
        and delta - rest >= unit
        and (rest + unit < distance or distance - rest > rest + unit - distance)
    ):
        last -= 1
        rest += unit
    return digits[:-1] + str(last)


def _normalize(f: int, e: int) -> tuple[int, int]:
    shift = 64 - f.bit_length()
    return f << shift, e - shift


def _times(f: int, other: int) -> int:
    product = f * other
    return (product >> 64) + (product >> 63 & 1)


def _decimal_power(e: int) -> int:
    """The power of ten that brings a number with this power of two to 10 digits at most."""
    return -348 + 8 * ((math.ceil((-61 - e) * 0.30102999566398114 + 347) >> 3) + 1)


def _power_of_ten(power: int) -> tuple[int, int]:
    """10**power, rounded to 64 bits."""
    above, below = (10**power, 1) if power >= 0 else (1, 10**-power)
    e = above.bit_length() - below.bit_length() - 64
    for exponent in (e, e + 1):
        numerator, denominator = above << max(0, -exponent), below << max(0, exponent)
        f, rest = divmod(numerator, denominator)
        if f < 2**64:
            break
    f += 2 * rest >= denominator
    return f, exponent
