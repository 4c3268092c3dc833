"""The demo's own API, in one process: what a request answers, and what its person can read at once."""

import gettext
import io
import json
import re
import shutil
import struct
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from celery.signals import before_task_publish, task_prerun
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

import demo.settings
from demo import launcher, photos, samples
from demo.listing import highlight
from demo.worker import app
from taskbell import PublicError
from taskbell.testing import deliver

POSTS = (
    "/sign-in/",
    "/tasks/",
    "/tasks/fail/",
    "/tasks/crash/",
    "/tasks/retry/",
    "/tasks/report/",
    "/photos/",
    "/photos/samples/",
    "/worker/kill/",
    "/server/stop/",
)


@pytest.fixture(scope="module", autouse=True)
def _language() -> Iterator[None]:
    """Take back what the demo's pages do to every task of this process, whose other tests publish some too."""
    yield
    from demo import language

    before_task_publish.disconnect(language._send)
    task_prerun.disconnect(language._receive)


@pytest.fixture(autouse=True)
def site(settings: Any, tmp_path: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The demo's pages in the tests' project: its tasks are enqueued, and nobody works on them."""
    for name in (
        "ROOT_URLCONF",
        "MIDDLEWARE",
        "STATIC_URL",
        "TASKBELL",
        "GUEST_HOST",
        "LANGUAGES",
        "LOCALE_PATHS",
        "ALLOWED_HOSTS",
        "REST_FRAMEWORK",
    ):
        setattr(settings, name, getattr(demo.settings, name))
    templates = Path(demo.settings.__file__).with_name("templates")
    settings.TEMPLATES = [{**demo.settings.TEMPLATES[0], "DIRS": [templates]}]
    settings.STATE, settings.MEDIA_ROOT = tmp_path, tmp_path / "photos"
    monkeypatch.delenv(launcher.PIPE, raising=False)
    before, conf = current_app._get_current_object(), app.conf
    backend, conf.result_backend, conf.broker_url = conf.result_backend, "disabled://", "memory://"
    app.set_current()
    yield
    conf.result_backend = backend
    before.set_current()


def person(name: str = "demo", **options: Any) -> Client:
    """Return somebody's browser, which has opened the page."""
    client = Client(SERVER_NAME="guest.localhost" if name == "guest" else "127.0.0.1", **options)
    assert client.get("/").context["user"].get_username() == name
    return client


def picture(format: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.effect_mandelbrot(size, (-2, -1, 1, 1), 50).convert(mode).save(file, format)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says how large it would be."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def upload(client: Client, *images: bytes) -> Any:
    return client.post("/photos/", {"images": [io.BytesIO(data) for data in images]})


# Who one is


@pytest.mark.parametrize(("host", "name"), [("127.0.0.1", "demo"), ("localhost", "demo"), ("guest.localhost", "guest")])
def test_opening_the_page_at_this_machine_signs_in(host: str, name: str) -> None:
    client = Client(SERVER_NAME=host)
    assert f"<strong>{name}</strong>" in client.get("/").content.decode()
    assert client.get("/taskbell/runs/").status_code == 200


def test_nobody_is_signed_in_from_elsewhere() -> None:
    client = Client(SERVER_NAME="127.0.0.1", REMOTE_ADDR="192.0.2.7")
    page = client.get("/").content.decode()
    assert "Who are you?" in page
    assert "data-taskbell" not in page
    assert client.post("/tasks/").status_code == 403


def test_signing_in_as_the_other_person() -> None:
    client = person()
    assert client.post("/sign-in/", {"user": "guest"}).status_code == 302
    assert client.get("/").context["user"].get_username() == "guest"
    assert client.post("/sign-in/", {"user": "root"}).status_code == 400
    assert client.get("/").context["user"].get_username() == "guest"


@pytest.mark.parametrize("path", POSTS)
def test_every_post_asks_for_the_token(path: str) -> None:
    client = person(enforce_csrf_checks=True)
    assert client.post(path, {"user": "guest"}).status_code == 403
    token = client.cookies["csrftoken"].value
    assert client.post(path, {"user": "guest"}, headers={"X-CSRFToken": token}).status_code != 403


def test_every_answer_has_the_policy() -> None:
    client = person()
    for path in ("/", "/taskbell/runs/", "/nothing/"):
        policy = client.get(path)["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_page_has_nothing_inline() -> None:
    page = person().get("/").content.decode()
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert page.count("<script") == page.count('<script type="module" src="/static/') == 2


# Tasks


def test_a_task_is_there_for_its_owner_at_once_and_for_nobody_else() -> None:
    client, guest = person(), person("guest")
    answer = client.post("/tasks/")
    assert answer.status_code == 201
    assert list(answer.json()) == ["task_id"]
    path = f"/tasks/{answer.json()['task_id']}/"
    for _ in range(2):
        run = client.get(path).json()
        assert (run["task_id"], run["label"], run["state"]) == (answer.json()["task_id"], "Task", "queued")
        assert guest.get(path).status_code == 404
        assert guest.get("/taskbell/runs/").json()["runs"] == []
        deliver()
    assert client.get(f"/tasks/{uuid.uuid4()}/").status_code == 404
    assert Client(SERVER_NAME="127.0.0.1").get(path).status_code == 403


@pytest.mark.parametrize("seconds", [0, 0.5, "3", 600])
def test_seconds_that_are_taken(seconds: Any) -> None:
    body = json.dumps({"seconds": seconds})
    assert person().post("/tasks/", body, content_type="application/json").status_code == 201
    assert person().post("/tasks/", {"seconds": seconds}).status_code == 201


@pytest.mark.parametrize("seconds", [-1, 601, "NaN", "soon", [], None])
def test_seconds_that_are_refused(seconds: Any) -> None:
    answer = person().post("/tasks/", json.dumps({"seconds": seconds}), content_type="application/json")
    assert answer.status_code == 400
    assert list(answer.json()) == ["seconds"]
    assert deliver() == 0


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/tasks/fail/", "Import"),
        ("/tasks/crash/", "Import"),
        ("/tasks/retry/", "Delivery"),
        ("/tasks/report/", "Report"),
    ],
)
def test_the_other_tasks(path: str, label: str) -> None:
    client = person()
    answer = client.post(path)
    assert answer.status_code == 201
    assert client.get(f"/tasks/{answer.json()['task_id']}/").json()["label"] == label


@pytest.mark.parametrize("path", ["/worker/kill/", "/server/stop/"])
def test_without_a_launcher_nothing_is_stopped(path: str) -> None:
    assert person().post(path).status_code == 503


def test_a_launcher_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launcher.PIPE, "987654")
    assert person().post("/worker/kill/").status_code == 503


# Photos


@pytest.mark.parametrize("format", photos.FORMATS)
def test_a_photo_is_taken_and_waits_for_the_worker(format: str, tmp_path: Path) -> None:
    client, data = person(), picture(format)
    answer = upload(client, data)
    assert (answer.status_code, answer.json()["photos"]) == (201, 1)
    assert client.get(f"/tasks/{answer.json()['task_id']}/").json()["label"] == "1 photo"
    (kept,) = tmp_path.glob("photos/*/*/originals/*")
    assert kept.read_bytes() == data
    assert kept.parents[1].name == answer.json()["task_id"], "the album is not called after its run"


def test_several_photos_are_steps_of_one_run_in_their_order(tmp_path: Path) -> None:
    client, guest = person(), person("guest")
    data = [picture(size=(64, 48 + number)) for number in range(photos.MOST_PHOTOS)]
    answer = upload(client, *data)
    assert answer.json()["photos"] == len(data)
    kept = sorted(tmp_path.glob("photos/*/*/originals/*"))
    assert [path.read_bytes() for path in kept] == data
    deliver()
    run = client.get(f"/tasks/{answer.json()['task_id']}/").json()
    assert (run["label"], run["steps"]["total"], run["steps"]["queued"]) == ("12 photos", 12, 12)
    assert {step["label"] for step in run["steps"]["list"]} == {"Photo"}
    steps = [step["id"] for step in run["steps"]["list"]]
    assert shown_steps(client) == steps
    assert shown_steps(guest) == []


def test_the_page_shows_the_newest_album(tmp_path: Path) -> None:
    client = person()
    old, new = (upload(client, picture()).json()["task_id"] for _ in range(2))
    assert f'data-album="{new}"' in client.get("/").content.decode()
    shutil.rmtree(next(tmp_path.glob(f"photos/*/{new}")))
    assert f'data-album="{old}"' in client.get("/").content.decode()


def shown_steps(client: Client) -> list[str]:
    tiles = client.get("/").content.decode().partition('id="photos"')[2].partition("</ol>")[0]
    return re.findall('<taskbell-run run="([^"]+)"', tiles)


def test_more_photos_than_fit_are_refused(tmp_path: Path) -> None:
    answer = upload(person(), *[picture()] * (photos.MOST_PHOTOS + 1))
    assert (answer.status_code, answer.json()) == (400, {"images": ["12 photos at once are the most."]})
    assert list(tmp_path.glob("photos/*/*")) == []


def test_one_that_is_no_photo_is_named_and_none_is_kept(tmp_path: Path) -> None:
    client = person()
    images = [SimpleUploadedFile("good.jpg", picture()), SimpleUploadedFile("notes.txt", b"no picture")]
    answer = client.post("/photos/", {"images": images})
    assert answer.json() == {"images": ["notes.txt: This is not a JPEG, PNG or WebP picture."]}
    assert list(tmp_path.glob("photos/*/*")) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a JPEG, PNG or WebP"),
        (b"no picture", "not a JPEG, PNG or WebP"),
        (picture("GIF"), "not a JPEG, PNG or WebP"),
        (picture()[:20], "not a JPEG, PNG or WebP"),
        (bomb(60_000, 60_000), "too large when unpacked"),
        (bomb(10_000, 6_000), "10000 × 6000 pixels"),
        (b"\xff" * (photos.MOST_BYTES + 1), "20 MB are the most"),
    ],
    ids=["empty", "text", "gif", "stub", "bomb", "many-pixels", "many-bytes"],
)
def test_what_is_no_photo_is_refused_in_words(data: bytes, reason: str, tmp_path: Path) -> None:
    answer = upload(person(), data)
    assert answer.status_code == 400
    assert reason in " ".join(answer.json()["images"])
    assert deliver() == 0
    assert list(tmp_path.glob("photos/*/*")) == []


@pytest.mark.parametrize("body", [{}, {"images": "text"}])
def test_no_photo_at_all(body: dict[str, str]) -> None:
    answer = person().post("/photos/", body)
    assert (answer.status_code, answer.json()) == (400, {"images": ["Choose a picture first."]})


def kept(user: User, data: bytes) -> str:
    """Return the name by which a task knows the only photo of a new album."""
    folder = photos.new_album(user, str(uuid.uuid4()))
    (folder / photos.ORIGINALS / "photo1").write_bytes(data)
    [name] = photos.photos_in(folder)
    return name


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1"])
def test_pictures_are_made_of_every_kind_of_photo(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "LEAST_SECONDS", 0)
    client = person()
    data = picture("JPEG" if mode == "CMYK" else "PNG", mode=mode)
    made = [one.make() for one in photos.todo(kept(User.objects.get(username="demo"), data))]
    assert [one["name"] for one in made] == list(photos.LOOKS)
    for one in made:
        for url, size in ((one["url"], (64, 48)), (one["small"], photos.SMALL)):
            answer = client.get(url)
            assert (answer.status_code, answer["Content-Type"]) == (200, "image/webp")
            assert Image.open(io.BytesIO(answer.content)).size == size


@pytest.mark.parametrize("format", photos.FORMATS)
def test_a_photo_that_was_cut_short_fails_in_words(format: str) -> None:
    person()
    data = picture(format, size=(640, 480))
    first = photos.todo(kept(User.objects.get(username="demo"), data[: len(data) // 2]))[0]
    with pytest.raises(PublicError, match="damaged or cut short"):
        first.make()


def test_a_photo_that_is_gone_fails_in_words() -> None:
    with pytest.raises(PublicError, match="upload it again"):
        photos.todo(f"1/{uuid.uuid4()}/originals/photo1")


def test_a_turned_photo_stands_upright_and_tells_nothing_of_its_camera(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right
    exif[0x010F] = "Secret camera"
    Image.new("RGB", (40, 20)).save(tmp_path / "photo", "JPEG", exif=exif)
    image = photos._open(tmp_path / "photo")
    assert image.size == (20, 40)
    assert not image.getexif()


def test_pictures_are_shown_to_their_owner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "LEAST_SECONDS", 0)
    client, guest = person(), person("guest")
    url = photos.todo(kept(User.objects.get(username="demo"), picture()))[0].make()["url"]
    assert client.get(url).status_code == 200
    assert "private" in client.get(url)["Cache-Control"]
    assert guest.get(url).status_code == 404
    assert Client(SERVER_NAME="127.0.0.1").get(url).status_code == 403
    folder = url.rpartition("/")[0]
    for name in ("originals/photo1", "photo1", "../photo1-plain-large.webp", "photo1-plain-large.webp/"):
        assert client.get(f"{folder}/{name}").status_code == 404


def test_old_albums_make_room(tmp_path: Path) -> None:
    user = User.objects.create(username="demo")
    made = [photos.new_album(user, str(uuid.uuid4())) for _ in range(photos.MOST_ALBUMS + 3)]
    kept = set((tmp_path / "photos" / str(user.pk)).iterdir())
    assert len(kept) == photos.MOST_ALBUMS
    assert made[-1] in kept


def test_six_sample_photos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(samples, "SIZE", (60, 40))
    client = person()
    for _ in range(2):
        answer = client.post("/photos/samples/")
        assert (answer.status_code, answer.json()["photos"]) == (201, 6)
    assert len(list(tmp_path.glob("samples/*.jpg"))) == 6
    assert len(list(tmp_path.glob("photos/*/*/originals/*.jpg"))) == 12


# Languages


@pytest.mark.parametrize(
    ("path", "accepted", "language", "heading"),
    [
        ("/", "", "en", "Your page rings when the work is done."),
        ("/", "ko-KR,ko;q=0.9,en;q=0.5", "ko", "작업이 끝나면 페이지가 알려 줍니다."),
        ("/?lang=ko", "en", "ko", "작업이 끝나면 페이지가 알려 줍니다."),
        ("/?lang=en", "ko", "en", "Your page rings when the work is done."),
        ("/?lang=xx", "", "en", "Your page rings when the work is done."),
        ("/", "fr", "en", "Your page rings when the work is done."),
    ],
)
def test_the_page_speaks_the_language_of_its_reader(path: str, accepted: str, language: str, heading: str) -> None:
    page = Client(SERVER_NAME="127.0.0.1").get(path, headers={"Accept-Language": accepted}).content.decode()
    assert f'<html lang="{language}">' in page
    assert heading in page


def test_a_language_that_was_chosen_stays_and_names_the_task() -> None:
    client = person()
    client.get("/?lang=ko")
    assert '<html lang="ko">' in client.get("/").content.decode()
    task_id = client.post("/tasks/fail/").json()["task_id"]
    assert client.get(f"/tasks/{task_id}/").json()["label"] == "가져오기"
    assert upload(client, b"no picture").json()["images"][0].endswith("JPEG, PNG, WebP 사진이 아닙니다.")


def test_every_text_has_its_korean() -> None:
    folder = Path(demo.settings.__file__).parent
    with (folder / "locale/ko/LC_MESSAGES/django.mo").open("rb") as file:
        korean = gettext.GNUTranslations(file)
    written = (folder / "locale/ko/LC_MESSAGES/django.po").read_text()
    pairs = dict(re.findall(r'^msgid "(.+)"\nmsgstr "(.*)"$', written, re.MULTILINE))
    assert all(korean.gettext(_plain(text)) == _plain(said) != "" for text, said in pairs.items()), "compile it"
    template = (folder / "templates/demo/page.html").read_text()
    used = set(re.findall(r'{% translate "([^"]+)" %}', template))
    for source in folder.glob("*.py"):
        used |= set(re.findall(r'\b_\("([^"]+)"\)', source.read_text()))
    assert used <= set(pairs)


def _plain(text: str) -> str:
    return text.replace('\\"', '"')


# The listing


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("x = 1\n", "x = 1"),
        ("@task\n", '<span class="decorator">@task</span>'),
        ('f("<b>")', 'f(<span class="string">&quot;&lt;b&gt;&quot;</span>)'),
        ("# for <you>", '<span class="comment"># for &lt;you&gt;</span>'),
        ("return a<b", '<span class="keyword">return</span> a&lt;b'),
    ],
)
def test_source_as_html(source: str, shown: str) -> None:
    assert highlight(source) == shown


def test_the_page_shows_the_tasks_as_they_are() -> None:
    page = person().get("/").content.decode()
    assert "time.sleep(seconds)" in page
    assert "publish_result" in page
