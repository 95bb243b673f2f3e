from sandbox.behaviour import MAGIC_MAILBOXES, MAGIC_NUMBERS


def test_unknown_paths_methods_and_filters_are_rejected(sandbox):
    failures = []
    for method, path, status in [
        ("GET", "/elsewhere", 404),
        ("POST", "/received", 405),
        ("GET", "/gateway", 405),
        ("GET", "/gateways", 404),
        ("GET", "/received?limit=0", 400),
        ("GET", "/received?before=3", 400),
    ]:
        response = sandbox.session.request(method, sandbox.http_url + path, timeout=30)
        if response.status_code != status or not response.json()["error"]:
            failures.append((method, path, response.status_code, response.text))

    assert not failures


def test_received_messages_are_filtered_and_paged(sandbox, post):
    for number in "+12025550001", "+12025550002", "+12025550001":
        post(number)

    assert len(sandbox.received(to="+12025550001")) == 2
    assert sandbox.received(kind="smtp") == []
    first, second, third = (record["seq"] for record in sandbox.received())
    page = sandbox.session.get(
        f"{sandbox.http_url}/received?after={first}&limit=1", timeout=30
    ).json()
    assert [record["seq"] for record in page] == [second]
    assert first < second < third


def test_clear_deletes_messages_counts_and_rules(sandbox, post):
    sandbox.control("*", {"status": 500}, kind="api")
    post(key="a")

    sandbox.clear()

    assert sandbox.received(outcome="*") == []
    assert sandbox.count()["total"] == 0
    assert post(key="a").status_code == 202
    assert sandbox.count()["distinct"] == 1
    assert sandbox.session.get(f"{sandbox.api_url}/x", timeout=30).status_code == 200


def test_page_shows_messages_escaped_and_lists_magic_recipients(sandbox, post):
    post("<b>", "<script>alert(1)</script>")

    html = sandbox.session.get(sandbox.http_url, timeout=30).text

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script" not in html
    assert [name for name in (*MAGIC_NUMBERS, *MAGIC_MAILBOXES) if name not in html] == []
