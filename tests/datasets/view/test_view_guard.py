"""Who may talk to the page's server, over real HTTP."""

import json

import pytest

from localblur.datasets.storage.edits import edits_path

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from page_server import TICKET, TOKEN, PageServer


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    members = [make_pair(name=f"{n}") for n in range(3)]
    return make_file(tmp_path / "a.h5", {"train": members, "test": [make_pair("s2", size=(40, 50))]})


@pytest.fixture
def page(path):
    with PageServer(path) as running:
        yield running


@pytest.mark.parametrize("where", ["/", "/api/pairs", "/api/pairs/0/picture/sharp", "/page/main.js", "/nothing"])
def test_without_the_token_nothing_is_answered(page, where):
    for token in (None, "", "wrong", TOKEN + "x", "ä"):
        headers = {} if token is None else {"x_localblur_token": token.encode("utf-8").decode("latin-1")}
        status, _, body = page.ask(where, token=None, **headers)
        assert status == 401
        assert b"s1" not in body
    assert page.ask("/?token=wrong", token=None)[0] == 401
    assert page.ask(f"/?token={TOKEN}&token=x", token=None)[0] == 401
    assert page.ask(f"/api/pairs?token={TOKEN}", token=None)[0] == 401


def test_the_address_gives_a_cookie_that_lets_in(page):
    status, headers, body = page.ask(f"/?token={TOKEN}", token=None)
    assert status == 200
    assert b"<title>view-dataset</title>" in body
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    content = cookie.split(";")[0]
    assert page.ask("/api/pairs", token=None, cookie=content)[0] == 200
    assert page.ask("/", token=None, cookie=content)[0] == 200
    assert page.ask("/api/pairs", token=None, cookie=content + "x")[0] == 401
    assert page.ask("/api/pairs", token=None, cookie=content, sec_fetch_site="cross-site")[0] == 403
    assert page.ask("/", token=None, cookie="=;;;\x01bad")[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "[::1]:{port}"]
)
def test_another_host_name_is_refused(page, host):
    assert page.ask("/api/pairs", host=host.format(port=page.port))[0] == 421
    assert page.ask("/api/pairs", host=f"localhost:{page.port}")[0] == 200


def test_a_ticket_lets_in_once(page):
    assert page.ask(f"/api/pairs?token={TICKET}", token=None)[0] == 401
    assert page.ask("/api/pairs", token=TICKET)[0] == 401
    status, headers, _ = page.ask(f"/?token={TICKET}", token=None)
    assert status == 200
    assert page.ask("/api/pairs", token=None, cookie=headers["set-cookie"].split(";")[0])[0] == 200
    assert page.ask(f"/?token={TICKET}", token=None)[0] == 401


def test_requests_of_other_pages_are_refused(page):
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{page.port}", f"http://127.0.0.1:{page.port}.x"):
        assert page.ask("/api/pairs", origin=origin)[0] == 403
        body = json.dumps({"verdict": "reject"}).encode()
        assert page.ask("/api/pairs/0", "POST", body, origin=origin, content_type="application/json")[0] == 403
    cookie = f"localblur-{page.port}={TOKEN}"
    post = {"cookie": cookie, "token": None, "content_type": "application/json"}
    assert page.ask("/api/pairs/0", "POST", b"{}", **post)[0] == 403
    assert not edits_path(page.curation.path).exists()
    assert page.decide(0, {"verdict": "reject"}, **post, origin=f"http://127.0.0.1:{page.port}")[0] == 200


def test_every_answer_carries_the_security_headers(page):
    for where, status in (("/", 200), ("/nothing", 404), ("/api/pairs/99/mask", 404), ("/api/file", 200)):
        found, headers, _ = page.ask(where)
        assert found == status
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
    assert page.ask("/api/pairs", token=None)[1]["content-security-policy"]


@pytest.mark.parametrize(
    "name",
    [
        "../view_app.py",
        "..%2fview_app.py",
        "%2e%2e/view_app.py",
        "..%5cview_app.py",
        "__init__.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "main.js%00",
        ".",
        "..",
    ],
)
def test_no_path_leads_out_of_the_page_s_folder(page, name):
    status, _, body = page.ask(f"/page/{name}")
    assert status == 404
    assert b"import" not in body and b"root:" not in body


def test_the_page_asks_for_nothing_from_outside(page):
    for name in ("index.html", "style.css", "main.js", "stage.js", "icon.svg"):
        status, _, body = page.ask(f"/page/{name}")
        assert status == 200
        text = body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text
        assert "<script>" not in text and "style=" not in text and "eval(" not in text
