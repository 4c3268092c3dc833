import http.server
import threading

import pytest
from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser


class Page(http.server.BaseHTTPRequestHandler):
    """Says which cookie it was sent, and sets one."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Set-Cookie", "seen=1")
        self.end_headers()
        self.wfile.write(f"<title>종 {self.headers['Cookie']}</title>".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("_again", range(2))
def test_each_test_gets_a_browser_without_a_past(browser: Chrome, _again: int) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            browser.get(f"http://127.0.0.1:{server.server_port}/")
            assert browser.title == "종 None"
            browser.refresh()
            assert browser.title == "종 seen=1"
            assert browser.execute_async_script("fetch('/').then(answer => arguments[0](answer.status))") == 200
        finally:
            # Or the server would wait for the connection that the browser keeps.
            browser.get("about:blank")
            server.shutdown()
            thread.join()
