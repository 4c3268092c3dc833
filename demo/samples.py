"""Six landscapes, drawn: photos for whoever has none at hand."""

import math
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFilter, ImageOps

SIZE: Final = (1200, 800)
LAYERS: Final = 5


@dataclass(frozen=True, slots=True)
class Scene:
    """Colours from the zenith down to the horizon, of the far and the near hills, and of sun or moon."""

    zenith: str
    sky: str
    horizon: str
    far: str
    near: str
    light: str
    where: tuple[float, float]
    radius: int
    stars: int = 0


SCENES: Final = (
    Scene("#1d2b64", "#c06c84", "#ffd194", "#a5668b", "#1b1b3a", "#fff1cf", (0.68, 0.47), 58),
    Scene("#2f80c2", "#8fc7ea", "#eef7f2", "#86b3b8", "#14504b", "#fffbe6", (0.24, 0.24), 46),
    Scene("#050a1f", "#132a56", "#3b5f8a", "#2a4568", "#060b16", "#f4f1de", (0.76, 0.2), 40, stars=260),
    Scene("#f2994a", "#f7c56b", "#fdebc8", "#d99a5b", "#7a3b1d", "#fffdf2", (0.5, 0.36), 70),
    Scene("#6a85b6", "#bac8e0", "#f7f3f4", "#b9c4d6", "#3d4a63", "#ffffff", (0.34, 0.4), 44),
    Scene("#134e5e", "#4f9d7d", "#d8f0b8", "#5f9e7a", "#0c3127", "#fdffe0", (0.82, 0.44), 52),
)


def draw_into(folder: Path, drawn: Path) -> None:
    """Put six photos into a folder; they are drawn once and kept in `drawn`."""
    drawn.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(SCENES, 1):
        kept = drawn / f"photo{number}.jpg"
        if not kept.exists():
            draw(scene, random.Random(number)).save(kept, quality=90)
        shutil.copyfile(kept, folder / kept.name)


def draw(scene: Scene, chance: random.Random) -> Image.Image:
    """Draw one landscape; the same chance draws the same one."""
    # Twice the size and then halved: soft edges for nothing.
    width, height = SIZE[0] * 2, SIZE[1] * 2
    slope = Image.linear_gradient("L").resize((width, height))
    image = ImageOps.colorize(slope, scene.zenith, scene.horizon, mid=scene.sky, midpoint=110)
    pen = ImageDraw.Draw(image)
    for _ in range(scene.stars):
        x, y = chance.uniform(0, width), chance.uniform(0, height * 0.55)
        size = chance.choice((1, 2, 2, 3))
        pen.ellipse((x - size, y - size, x + size, y + size), fill="#dfe8ff")
    _shine(image, scene)
    for layer in range(LAYERS):
        _hills(image, scene, layer, chance)
    return image.resize(SIZE, Image.Resampling.BOX)


def _shine(image: Image.Image, scene: Scene) -> None:
    """Sun or moon, with a glow that is blurred small and then stretched."""
    x, y = image.width * scene.where[0], image.height * scene.where[1]
    glow = Image.new("L", (image.width // 16, image.height // 16))
    reach = scene.radius * 3 / 16
    ImageDraw.Draw(glow).ellipse((x / 16 - reach, y / 16 - reach, x / 16 + reach, y / 16 + reach), fill=150)
    image.paste(scene.light, mask=glow.filter(ImageFilter.GaussianBlur(8)).resize(image.size))
    radius = scene.radius * 2
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=scene.light)


def _hills(image: Image.Image, scene: Scene, layer: int, chance: random.Random) -> None:
    nearness = layer / (LAYERS - 1)
    top = image.height * (0.55 + 0.33 * nearness)
    # A few waves that do not fit each other look like land.
    waves = [(chance.uniform(0.6, 1.4) * 2**n, chance.uniform(0, math.tau), 0.5**n) for n in range(5)]
    swing = image.height * (0.1 - 0.03 * nearness)
    outline = [
        (x, top - swing * sum(a * math.sin(f * math.tau * x / image.width + p) for f, p, a in waves))
        for x in range(0, image.width + 8, 8)
    ]
    colour = Image.blend(Image.new("RGB", (1, 1), scene.far), Image.new("RGB", (1, 1), scene.near), nearness)
    corners = [(image.width, image.height), (0, image.height)]
    ImageDraw.Draw(image).polygon([*outline, *corners], fill=colour.getpixel((0, 0)))
