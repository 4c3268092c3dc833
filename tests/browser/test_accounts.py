"""Two people at one browser: a page that was left open never becomes the other person's."""

import pytest
from django.contrib.sessions.models import Session

from taskbell import publish
from tests.browser.site import Site, new_run

pytestmark = pytest.mark.browser

LISTEN = """
window.heard = [];
taskbell.on("message", (data) => heard.push(data));
window.answers = 0;
const original = fetch;
window.fetch = (...asked) => original(...asked).finally(() => (window.answers += 1));
"""


@pytest.mark.parametrize("signed_out_first", [True, False], ids=["signed out first", "signed in over it"])
def test_somebody_else_signs_in_in_another_tab(site: Site, signed_out_first: bool) -> None:
    bob = site.project.person("bob")
    site.open("runs=1")
    site.until_live()
    site.run(LISTEN)
    anns_tab, anns_cookie = site.browser.current_window_handle, site.browser.get_cookie("sessionid")
    if signed_out_first:
        Session.objects.all().delete()
        site.until(lambda: site.run("return taskbell.status") == "signed-out", "not signed out")

    site.browser.switch_to.new_window("tab")
    site.sign_in("bob")
    site.open("runs=1")
    site.until_live()
    site.run(LISTEN)
    publish(bob, "message", "for bob")
    site.fact("succeeded", new_run(), bob)
    site.until(lambda: site.run("return heard") == ["for bob"], "bob hears nothing")
    site.until(lambda: site.toasts() == ["Resizing photo finished"], "bob sees nothing")

    site.browser.switch_to.window(anns_tab)
    if signed_out_first:
        site.run("taskbell.wake()")
    else:
        # As after a proxy's time-out, or at the age of the stream.
        site.run("taskbell.stop(); taskbell.start()")
    site.until(lambda: site.run("return taskbell.status") == "signed-out", "not signed out")
    answers = site.run("taskbell.refresh(); return window.answers")
    site.until(lambda: site.run("return window.answers") > answers, "the list was not asked for")
    theirs = "return fetch('/taskbell/runs/').then((answer) => answer.json()).then(({runs}) => runs.length)"
    assert site.run(theirs) == 1, "the browser is bob's"
    assert site.run("return heard") == []
    assert site.run("return document.querySelectorAll('taskbell-run').length") == 0
    assert site.toasts() == []
    assert site.run("return Object.keys(sessionStorage)") == []

    # Ann is back, and looks at her page again.
    publish(site.ann, "message", "for ann")
    if signed_out_first:
        site.browser.delete_all_cookies()
        name, value = site.project.sign_in(site.ann).split("=", 1)
        site.browser.add_cookie({"name": name, "value": value, "httpOnly": True})
    else:
        site.browser.add_cookie(anns_cookie)
    site.run("taskbell.wake()")
    site.until_live()
    publish(site.ann, "message", "and again")
    site.until(lambda: len(site.run("return heard")) == 2, "ann's own events do not come")
    assert site.run("return heard") == ["for ann", "and again"]
    # Chromium logs every 401, and these were meant.
    assert all("401" in problem for problem in site.problems())
