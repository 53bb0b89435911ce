"""The settings of augmentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    """How an image is varied. By default it is not.

    TF-Slim's full mode is ``Augmentation(crop_area=0.1, any_resize=True, flip=True,
    brightness=32 / 255, saturation=0.5, contrast=0.5, hue=0.2)``; its trainer uses the fast mode,
    which has neither any_resize nor contrast nor hue.

    Args:
        crop_area: the smallest part of the image's area that a random crop keeps, above 0 and at
            most 1; 1 leaves the evaluation's centre crop in place. 0.08 in arXiv:1409.4842.
        crop_aspect: the widest aspect ratio (width / height) of a crop, at least 1; the narrowest
            is its inverse. 4/3 in arXiv:1409.4842.
        crop_evenly: draw the area of a crop evenly between ``crop_area`` and all of the image's, as
            arXiv:1409.4842 says and torchvision does, and not its sides, as TensorFlow does.
        any_resize: resize random crops by one of four methods at random, not always alike.
        flip: mirror left and right in half of the cases.
        flip_vertical: mirror top and bottom in half of the cases.
        rotate_degrees: turn by up to so many degrees either way, 0 to 180; what comes in is the
            mirror image.
        shift_pixels: move the image by up to so many pixels of the network's input, in both
            directions each way; what comes in at the edge is its mirror image.
        brightness: add up to this part of the range of pixels, either way.
        brightness_factor: times 1 - this to 1 + this, 0 to 1.
        saturation: times 1 - this to 1 + this, 0 to 1.
        contrast: likewise, about the image's mean.
        hue: turn by up to this part of the colour circle, either way, 0 to 0.5.
        pca_noise: deviation of the noise along the principal components of ImageNet's colours, as
            AlexNet has it, by MXNet's numbers; 0.1 in GluonCV.
        grey: the share of images that lose their colour.
        blur: the share of images that are blurred, by a Gaussian of sigma 0.1 to 2 pixels.
        rand_operations: operations of RandAugment (arXiv:1909.13719) on each image.
        rand_strength: of them, 0 to 1.
        erase: the share of images in which a rectangle of 2 to 33 % of the area becomes noise
            (arXiv:1708.04896).
        mixup_alpha: of mixup (arXiv:1710.09412), 0 to 1; 0 mixes nothing. The shares of the two
            images are drawn from the beta distribution with this parameter twice: at 0.2 mostly
            near 0 and 1, at 1 anywhere alike.
        cutmix_alpha: of CutMix (arXiv:1905.04899), likewise.
    """

    crop_area: float = 1.0
    crop_aspect: float = 4 / 3
    crop_evenly: bool = False
    any_resize: bool = False
    flip: bool = False
    flip_vertical: bool = False
    rotate_degrees: float = 0.0
    shift_pixels: int = 0
    brightness: float = 0.0
    brightness_factor: float = 0.0
    saturation: float = 0.0
    contrast: float = 0.0
    hue: float = 0.0
    pca_noise: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    rand_operations: int = 0
    rand_strength: float = 0.5
    erase: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
