"""Albums of photos, and the pictures that are made of them. A person's albums are a folder of their own."""

import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.urls import reverse
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from taskbell import PublicError

FORMATS: Final = ("JPEG", "PNG", "WEBP")
MOST_BYTES: Final = 20 * 1024 * 1024
# Unpacked, 50 million pixels are 150 MB; few cameras make more, and a bomb makes thousands of millions.
MOST_PIXELS: Final = 50_000_000
# Enough for every look; what comes after works on this.
WORKING_SIZE: Final = (960, 960)
SMALL: Final = (240, 240)
# Pictures of one photo are made in a blink. A demo is for watching.
LEAST_SECONDS: Final = 0.15
MOST_ALBUMS: Final = 8
ORIGINALS: Final = "originals"

Look = Callable[[Image.Image], Image.Image]


class Unfit(ValueError):
    """An upload that is turned away; the text is for the person."""


def check(file: IO[bytes]) -> None:
    """Raise `Unfit` unless the file says that it is a photo of a size we take. Its pixels are not read."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise Unfit("This picture would be too large when unpacked.") from None
    except Exception:  # noqa: BLE001  Pillow's readers raise all sorts of things at what is no picture
        raise Unfit("This is not a JPEG, PNG or WebP picture.") from None
    if width * height > MOST_PIXELS:
        raise Unfit(f"This picture has {width} × {height} pixels; {MOST_PIXELS // 1_000_000} million are the most.")


def new_album(user: AbstractBaseUser) -> Path:
    """Return a new folder for photos of this person; their oldest album makes room."""
    mine = Path(settings.MEDIA_ROOT, str(user.pk))
    mine.mkdir(parents=True, exist_ok=True)
    for old in sorted(mine.iterdir(), key=lambda folder: folder.stat().st_mtime)[: -MOST_ALBUMS + 1]:
        shutil.rmtree(old, ignore_errors=True)
    album = mine / str(uuid.uuid4())
    (album / ORIGINALS).mkdir(parents=True)
    return album


def find(user: AbstractBaseUser, album: uuid.UUID, name: str) -> Path:
    """Return where the picture of that name is, if this person has it."""
    return Path(settings.MEDIA_ROOT, str(user.pk), str(album), name)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture yet to be made of a photo."""

    album: Path
    photo: Path
    look: str

    def make(self) -> dict[str, str]:
        """Make it, large and small, and return where the page finds both and what it is called."""
        started = time.monotonic()
        large = LOOKS[self.look](_open(self.photo))
        made = {"name": self.look, "url": self._save(large, "large")}
        made["small"] = self._save(ImageOps.fit(large, SMALL), "small")
        time.sleep(max(0, LEAST_SECONDS - (time.monotonic() - started)))
        return made

    def _save(self, image: Image.Image, size: str) -> str:
        name = f"{self.photo.stem}-{self.look.lower()}-{size}.webp"
        image.save(self.album / name, quality=82)
        return reverse("picture", args=[self.album.name, name])


def todo(album: str) -> list[Picture]:
    """Return the pictures to be made of the photos in an album, which is named by person and album."""
    folder = Path(settings.MEDIA_ROOT, album)
    found = sorted((folder / ORIGINALS).glob("photo*"))
    if not found:
        raise PublicError("These photos are gone; upload them again.")
    return [Picture(folder, photo, look) for photo in found for look in LOOKS]


@lru_cache(maxsize=1)
def _open(path: Path) -> Image.Image:
    """Return the photo upright, without its metadata, and no larger than needed."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.draft("RGB", WORKING_SIZE)
            image.load()
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except Exception as error:
        raise PublicError("This picture is damaged or cut short.") from error
    upright.thumbnail(WORKING_SIZE)
    photo = Image.new("RGB", upright.size, "white")
    photo.paste(upright, mask=upright)
    return photo


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
    "Plain": _as_it_is,
    "Vivid": _vivid,
    "Mono": _mono,
    "Sepia": _sepia,
    "Dream": _dream,
    "Ink": _ink,
}


class PictureName:
    """The names that pictures have, in a path: no photo as it was uploaded, and nothing outside the album."""

    regex = rf"photo[0-9]*-(?:{'|'.join(look.lower() for look in LOOKS)})-(?:large|small)\.webp"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value
