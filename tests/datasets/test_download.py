import time

import numpy as np
import pytest
from file_server import Answer, FileServer, md5_of

from skmer.datasets._download import Patience, download, read_json

DATA = np.random.default_rng(0).bytes(300_000)
QUICK = Patience(3, 0.01)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FileServer({"a.bin": DATA}) as server:
        yield server


@pytest.fixture
def get(server, tmp_path):
    """Function that downloads the file and returns the counts that were told."""

    def get(patience=QUICK, size=None, md5=None):
        told = []
        size = size or len(server.files["a.bin"])
        path = tmp_path / "a.bin"
        md5 = md5 or md5_of(server.files["a.bin"])
        url = server.file_url("a.bin")
        download(url, path, size, md5, patience, told.append)
        assert path.read_bytes() == server.files["a.bin"]
        assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
        return told

    return get


def test_a_whole_file(server, get):
    told = get()
    assert told == sorted(told) and told[-1] == len(DATA)
    [request] = server.requests
    assert request.range is None
    assert request.headers["user-agent"].startswith("skmer/")


def test_a_line_that_is_cut_goes_on_where_it_was(server, get):
    server.answers = [Answer(sent=100_000), Answer(sent=50_000), Answer()]
    told = get()
    ranges = [request.range for request in server.requests]
    assert ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert server.requests[1].headers["if-range"] == f'"{md5_of(DATA)}"'
    assert told[-1] == len(DATA)


def test_as_long_as_bytes_come_it_is_tried_again(server, get):
    server.answers = [Answer(sent=10_000)] * 20
    get(Patience(1, 0.001))
    assert len(server.requests) == 21


def test_a_server_that_knows_no_parts_starts_again(server, get):
    server.ranges = False
    server.answers = [Answer(sent=100_000)]
    get()
    assert [request.range for request in server.requests] == [None, "bytes=100000-"]


def test_a_file_that_changed_on_the_way_starts_again(server, get, tmp_path):
    part = tmp_path / "a.bin.part"
    part.write_bytes(b"old" * 1000)
    facts = tmp_path / "a.bin.part.json"
    facts.write_text(f'{{"etag": "\\"old\\"", "md5": "{md5_of(DATA)}"}}')
    get()
    [request] = server.requests
    # The tag is not the server's, which therefore sent all of it
    assert request.range == "bytes=3000-" and request.headers["if-range"] == '"old"'


def test_a_part_of_another_version_is_not_used(server, get, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(DATA[:1000])
    (tmp_path / "a.bin.part.json").write_text('{"etag": null, "md5": "another"}')
    get()
    assert [request.range for request in server.requests] == [None]


def test_a_part_that_was_damaged_is_found_by_the_checksum(server, get, tmp_path):
    server.tags = False
    (tmp_path / "a.bin.part").write_bytes(bytes(1000))
    facts = tmp_path / "a.bin.part.json"
    facts.write_text(f'{{"etag": null, "md5": "{md5_of(DATA)}"}}')
    get()
    assert [request.range for request in server.requests] == ["bytes=1000-", None]


def test_a_part_that_is_whole_needs_no_request(server, get, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(DATA)
    facts = tmp_path / "a.bin.part.json"
    facts.write_text(f'{{"etag": null, "md5": "{md5_of(DATA)}"}}')
    get()
    assert server.requests == []


@pytest.mark.parametrize("answer", [Answer(headers={"Content-Range": "bytes 5-9/10"})])
def test_a_part_that_was_not_asked_for_is_not_appended(server, get, answer):
    server.answers = [Answer(sent=100_000), answer]
    get()
    ranges = [request.range for request in server.requests]
    assert ranges == [None, "bytes=100000-", None]


def test_a_busy_server_says_how_long_to_wait(server, get):
    server.answers = [Answer(status=429, headers={"Retry-After": "1"})]
    get(Patience(1, 0.0))
    first, second = (request.time for request in server.requests)
    assert second - first >= 0.99


def test_a_date_to_wait_for(server, get):
    then = time.time() + 2
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(then))
    server.answers = [Answer(status=503, headers={"Retry-After": date})]
    get(Patience(1, 0.0))
    assert time.time() >= int(then)


def test_delays_double(server, get):
    server.answers = [Answer(status=500)] * 3
    get(Patience(3, 0.1))
    times = [request.time for request in server.requests]
    assert (np.diff(times) >= [0.1, 0.2, 0.4]).all()


def test_retries_are_bounded(server, get, tmp_path):
    server.answers = [Answer(sent=1000)] + [Answer(status=503)] * 9
    with pytest.raises(OSError, match="answers 503 Service Unavailable"):
        get(Patience(2, 0.001))
    assert len(server.requests) == 3
    # What came is kept
    assert (tmp_path / "a.bin.part").stat().st_size == 1000
    server.answers = []
    get()
    assert server.requests[-1].range == "bytes=1000-"


def test_what_will_not_change_is_not_tried_again(server, get):
    server.answers = [Answer(status=403)]
    with pytest.raises(OSError, match="answers 403 Forbidden"):
        get()
    assert len(server.requests) == 1


def test_a_wrong_checksum(server, get, tmp_path):
    with pytest.raises(OSError, match=f"checksum {md5_of(DATA)}, not 0123"):
        get(md5="0123")
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("size", [299_999, 300_001])
def test_a_wrong_size(get, tmp_path, size):
    with pytest.raises(OSError, match=f"is of 300000 bytes, not {size}"):
        get(size=size)
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(OSError, match="cannot be reached .*refused"):
        read_json("http://127.0.0.1:9/record", Patience(1, 0.01))


def test_redirects_are_followed_but_not_anywhere(server, get, tmp_path):
    url = server.file_url("a.bin")
    server.answers = [Answer(status=302, headers={"Location": url})]
    get()
    secret = tmp_path / "secret"
    secret.write_text("x")
    for place in (f"file://{secret}", "ftp://127.0.0.1/x"):
        server.answers = [Answer(status=302, headers={"Location": place})]
        with pytest.raises(OSError, match="not safe|not allowed"):
            download(url, tmp_path / "b", 1, "0", QUICK, print)
    with pytest.raises(ValueError, match="https"):
        read_json(f"file://{secret}", QUICK)


def test_what_is_no_json(server):
    with pytest.raises(OSError, match="is no JSON"):
        read_json(server.file_url("a.bin"), QUICK)
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_json(server.url, QUICK, max_bytes=10)
    assert read_json(server.url, QUICK)["files"][0]["key"] == "a.bin"
