"""Albums of photos, and the pictures that are made of them. A person's albums are a folder of their own."""

import shutil
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.urls import reverse
from django.utils.translation import gettext as _
from PIL import Image, ImageOps

from demo.looks import LOOKS
from taskbell import PublicError

FORMATS: Final = ("JPEG", "PNG", "WEBP")
MOST_BYTES: Final = 20 * 1024 * 1024
# Unpacked, 50 million pixels are 150 MB; few cameras make more, and a bomb makes thousands of millions.
MOST_PIXELS: Final = 50_000_000
# Two rows of six; of a run with steps the page is told the first twenty.
MOST_PHOTOS: Final = 12
# Enough for every look; what comes after works on this.
WORKING_SIZE: Final = (960, 960)
SMALL: Final = (240, 240)
# Pictures of one photo are made in a blink. A demo is for watching.
LEAST_SECONDS: Final = 0.3
MOST_ALBUMS: Final = 8
ORIGINALS: Final = "originals"


class Unfit(ValueError):
    """An upload that is turned away; the text is for the person."""


def check(file: IO[bytes]) -> None:
    """Raise `Unfit` unless the file says that it is a photo of a size we take. Its pixels are not read."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise Unfit(_("This picture would be too large when unpacked.")) from None
    except Exception:  # noqa: BLE001  Pillow's readers raise all sorts of things at what is no picture
        raise Unfit(_("This is not a JPEG, PNG or WebP picture.")) from None
    if width * height > MOST_PIXELS:
        sizes = {"width": width, "height": height, "most": MOST_PIXELS // 1_000_000}
        raise Unfit(_("This picture has %(width)d × %(height)d pixels; %(most)d million are the most.") % sizes)


def new_album(user: AbstractBaseUser, name: str) -> Path:
    """Return a new folder for photos of this person, called after the run; their oldest album makes room."""
    mine = _albums(user)
    for old in mine[: -MOST_ALBUMS + 1]:
        shutil.rmtree(old, ignore_errors=True)
    album = Path(settings.MEDIA_ROOT, str(user.pk), name)
    (album / ORIGINALS).mkdir(parents=True)
    return album


def newest_album(user: AbstractBaseUser) -> str | None:
    """Return the name of this person's newest album, which is the id of the run that made its pictures."""
    mine = _albums(user)
    return mine[-1].name if mine else None


def photos_in(album: Path) -> list[str]:
    """Return the names by which tasks know the photos of an album, in order."""
    found = sorted((album / ORIGINALS).iterdir())
    return [str(photo.relative_to(settings.MEDIA_ROOT)) for photo in found]


def find(user: AbstractBaseUser, album: uuid.UUID, name: str) -> Path:
    """Return where the picture of that name is, if this person has it."""
    return Path(settings.MEDIA_ROOT, str(user.pk), str(album), name)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture yet to be made of a photo."""

    photo: Path
    look: str

    def make(self) -> dict[str, str]:
        """Make it, large and small, and return where the page finds both and what it is called."""
        started = time.monotonic()
        large = LOOKS[self.look](_open(self.photo))
        made = {"name": _(self.look), "url": self._save(large, "large")}
        made["small"] = self._save(ImageOps.fit(large, SMALL), "small")
        time.sleep(max(0, LEAST_SECONDS - (time.monotonic() - started)))
        return made

    def _save(self, image: Image.Image, size: str) -> str:
        album, name = self.photo.parents[1], f"{self.photo.stem}-{self.look.lower()}-{size}.webp"
        image.save(album / name, quality=82)
        return reverse("picture", args=[album.name, name])


def todo(photo: str) -> list[Picture]:
    """Return the pictures to be made of a photo."""
    path = Path(settings.MEDIA_ROOT, photo)
    if not path.exists():
        raise PublicError(_("This photo is gone; upload it again."))
    return [Picture(path, look) for look in LOOKS]


def _albums(user: AbstractBaseUser) -> list[Path]:
    """Return the albums of this person, oldest first; into the folder of originals nothing is put later."""
    found = Path(settings.MEDIA_ROOT, str(user.pk)).glob(f"*/{ORIGINALS}")
    return [originals.parent for originals in sorted(found, key=_made_at)]


def _made_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # another request is making room
        return 0


@lru_cache(maxsize=1)
def _open(path: Path) -> Image.Image:
    """Return the photo upright, without its metadata, and no larger than needed."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.draft("RGB", WORKING_SIZE)
            image.load()
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except Exception as error:
        raise PublicError(_("This picture is damaged or cut short.")) from error
    upright.thumbnail(WORKING_SIZE)
    photo = Image.new("RGB", upright.size, "white")
    photo.paste(upright, mask=upright)
    return photo


class PictureName:
    """The names that pictures have, in a path: no photo as it was uploaded, and nothing outside the album."""

    regex = rf"photo[0-9]*-(?:{'|'.join(look.lower() for look in LOOKS)})-(?:large|small)\.webp"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value
