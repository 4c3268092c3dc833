"""Where nothing is ever sent to, however it is written; and what may stand in the settings."""

import pytest

from taskbell.inbox.push.endpoint import ENDPOINT_LENGTH, BadEndpoint, check_endpoint, is_host, is_public

GOOD = {
    "https://fcm.googleapis.com/fcm/send/dXy_z-1:APA91bHPRgkF3JUi": "fcm.googleapis.com",
    "https://fcm.googleapis.com:443/wp/abc": "fcm.googleapis.com",
    "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABk==": "updates.push.services.mozilla.com",
    "https://web.push.apple.com/QGuQyavXutnMH": "web.push.apple.com",
    "https://wns2-by3p.notify.windows.com/w/?token=BQYAAAD%2bx%2f": "wns2-by3p.notify.windows.com",
}
BAD = [
    "",
    " ",
    "fcm.googleapis.com/x",
    "//fcm.googleapis.com/x",
    "http://fcm.googleapis.com/x",
    "file:///etc/passwd",
    "ftp://fcm.googleapis.com/x",
    "HTTPS://fcm.googleapis.com/x",
    "https:/fcm.googleapis.com/x",
    "https:fcm.googleapis.com/x",
    "https://fcm.googleapis.com",
    "https://",
    "https:///x",
    # No name at all, in every notation.
    "https://127.0.0.1/x",
    "https://127.1/x",
    "https://0x7f.1/x",
    "https://0x7f000001/x",
    "https://2130706433/x",
    "https://017700000001/x",
    "https://[::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://169.254.169.254/latest/meta-data/",
    "https://0/x",
    "https://localhost/x",
    "https://localhost./x",
    # Another name.
    "https://fcm.googleapis.com.evil.example/x",
    "https://evilfcm.googleapis.com/x",
    "https://evil.example/fcm.googleapis.com/",
    "https://push.apple.com/x",
    "https://evilpush.apple.com/x",
    "https://web.push.apple.com.evil.example/x",
    "https://notify.windows.com/x",
    "https://.push.apple.com/x",
    "https://a..push.apple.com/x",
    "https://-a.push.apple.com/x",
    "https://fcm.googleapis.com./x",
    "https://FCM.googleapis.com/x",
    "https://fcm。googleapis.com/x",
    "https://fcm.googleapіs.com/x",  # the i of another alphabet
    "https://xn--fcm-googleapis-com.example/x",
    "https://ｆcm.googleapis.com/x",
    # Another user, port, or part.
    "https://user@fcm.googleapis.com/x",
    "https://user:secret@fcm.googleapis.com/x",
    "https://fcm.googleapis.com@evil.example/x",
    "https://fcm.googleapis.com:22/x",
    "https://fcm.googleapis.com:8443/x",
    "https://fcm.googleapis.com:0443/x",
    "https://fcm.googleapis.com:/x",
    "https://fcm.googleapis.com/x#fragment",
    "https://fcm.googleapis.com#@evil.example/x",
    "https://fcm.googleapis.com?@evil.example/x",
    "https://fcm.googleapis.com\\@evil.example/x",
    "https://fcm.googleapis.com\\.evil.example/x",
    "https://evil.example\\@fcm.googleapis.com/x",
    # What is no address.
    "https://fcm.googleapis.com/x y",
    "https://fcm.googleapis.com/x\n",
    "https://fcm.googleapis.com/x\r\nHost: evil.example",
    "https://fcm.googleapis.com/\0",
    "\thttps://fcm.googleapis.com/x",
    " https://fcm.googleapis.com/x",
    "https://fcm.goo\tgleapis.com/x",
    "https://fcm.googleapis.com/é",
    "https://fcm.googleapis.com/" + "x" * ENDPOINT_LENGTH,
    "https://fcm.googleapis.com/" + "x" * 8_192,
    "https://" + "a." * 200 + "push.apple.com/x",
    "https://" + "a" * 64 + ".push.apple.com/x",
]


@pytest.mark.parametrize("endpoint", GOOD)
def test_what_browsers_have_is_taken(endpoint: str) -> None:
    assert check_endpoint(endpoint, ()) == GOOD[endpoint]


@pytest.mark.parametrize("endpoint", BAD, ids=repr)
def test_anything_else_is_refused_and_not_repeated(endpoint: str) -> None:
    with pytest.raises(BadEndpoint) as refused:
        check_endpoint(endpoint, ("push.example.com", "*.push.example.com"))
    assert len(endpoint) < 3 or endpoint not in str(refused.value)


def test_a_site_may_know_others() -> None:
    for host, hosts in {"push.example.com": ["push.example.com"], "a.b.example.com": ["*.example.com"]}.items():
        assert check_endpoint(f"https://{host}/x", hosts) == host
        with pytest.raises(BadEndpoint):
            check_endpoint(f"https://{host}/x", ())
    with pytest.raises(BadEndpoint):
        check_endpoint("https://example.com/x", ["*.example.com"])


@pytest.mark.parametrize("host", ["push.example.com", "*.push.example.com", "a-b.c1.io"])
def test_hosts_that_settings_may_name(host: str) -> None:
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "*", "*.com.", "localhost", "*.localhost", "127.0.0.1", "0x7f.1", "[::1]", "push.example.com:443", "", ".",
        "a..b",
        "https://push.example.com", "PUSH.example.com", "push.*.com", "*push.example.com", "push.example.com/", 5, None,
        "push_a.example.com", "push.example.com\n", "a." * 127 + "com",
    ],
    ids=repr,
)  # fmt: skip
def test_hosts_that_settings_may_not_name(host: object) -> None:
    assert not is_host(host)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
        "192.0.2.1",
        "192.168.1.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001:db8::1",
        "2001::7f00:1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2002:7f00:1::", "2002:808:808::",
        "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0",
        "fec0::1", "ff02::1", "", "8.8.8", "08.8.8.8", "8.8.8.8 ", "fcm.googleapis.com",
    ],
)  # fmt: skip
def test_any_other_address(address: str) -> None:
    assert not is_public(address)
