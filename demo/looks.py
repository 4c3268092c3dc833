"""The six looks that a photo is given."""

from collections.abc import Callable
from typing import Final

from django.utils.translation import gettext_noop as _
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

Look = Callable[[Image.Image], Image.Image]


def _as_it_is(photo: Image.Image) -> Image.Image:
    return photo


def _vivid(photo: Image.Image) -> Image.Image:
    return ImageEnhance.Color(ImageEnhance.Contrast(photo).enhance(1.1)).enhance(1.45)


def _mono(photo: Image.Image) -> Image.Image:
    return ImageOps.autocontrast(ImageOps.grayscale(photo))


def _sepia(photo: Image.Image) -> Image.Image:
    return ImageOps.colorize(ImageOps.grayscale(photo), "#1e1208", "#fff3dc", mid="#9a7147")


def _dream(photo: Image.Image) -> Image.Image:
    return ImageChops.screen(photo, photo.filter(ImageFilter.GaussianBlur(14)).point(lambda value: value * 0.55))


def _ink(photo: Image.Image) -> Image.Image:
    edges = ImageOps.grayscale(photo).filter(ImageFilter.SMOOTH_MORE).filter(ImageFilter.FIND_EDGES)
    # The steps of a smooth sky are no lines. What is left is drawn with a broader pen.
    lines = edges.point(lambda value: 255 - min(255, max(0, value - 8) * 14)).filter(ImageFilter.MinFilter(3))
    return ImageOps.colorize(lines.filter(ImageFilter.SMOOTH), "#16324f", "#fdfbf5")


LOOKS: Final[dict[str, Look]] = {
    _("Plain"): _as_it_is,
    _("Vivid"): _vivid,
    _("Mono"): _mono,
    _("Sepia"): _sepia,
    _("Dream"): _dream,
    _("Ink"): _ink,
}
