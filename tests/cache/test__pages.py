"""The index of a sound file is never refused, that of a damaged one is."""

import os
import random
import re

import lmdb
import numpy as np
import pytest

from skmer.cache._pages import (
    _PAGE,
    UnsoundError,
    check_heads,
    check_pages,
)


@pytest.fixture
def environment(tmp_path):
    environment = lmdb.open(
        str(tmp_path), map_size=2**28, max_dbs=4, sync=False, max_spare_txns=0
    )
    yield environment
    environment.close()


def _check(environment):
    path = os.path.join(environment.path(), "data.mdb")
    check_heads(path)
    with environment.begin(write=True) as txn:
        check_pages(path, txn.id() - 1)


def _write(environment, rng, dbs, n):
    with environment.begin(write=True) as txn:
        for _ in range(n):
            db, key = rng.choice(dbs), rng.randrange(3000).to_bytes(rng.choice((4, 32)))
            if rng.random() < 0.4:
                txn.delete(key, db=db)
            else:
                txn.put(key, rng.randbytes(rng.choice((0, 7, 60, 2000, 9000))), db=db)


def test_whatever_lmdb_writes_is_sound(environment):
    rng = random.Random(0)
    _check(environment)
    dbs = [environment.open_db(name) for name in (b"values", b"ids", b"used")]
    _check(environment)
    for round_ in range(40):
        # A reader keeps old pages from being used again: long lists of free ones.
        reader = environment.begin() if round_ % 3 == 0 else None
        for _ in range(rng.randrange(4)):
            _write(environment, rng, dbs, rng.choice((1, 30, 400)))
        if round_ % 10 == 9:
            with environment.begin(write=True) as txn:
                txn.drop(rng.choice(dbs), delete=False)
        if reader is not None:
            reader.abort()
        _check(environment)
    with environment.begin() as txn:
        assert sum(txn.stat(db)["overflow_pages"] for db in dbs) > 100
        assert max(txn.stat(db)["depth"] for db in dbs) > 1
    assert environment.info()["last_txnid"] > 40


@pytest.fixture
def small(environment):
    """Path of a file with one tree of two levels, and its pages by kind."""
    db = environment.open_db(b"values")
    for part in range(2):
        with environment.begin(write=True) as txn:
            for i in range(part, 100, 2):
                value = bytes(5000) if i % 20 == 3 else bytes(100)
                txn.put(i.to_bytes(4, "big"), value, db=db)
    environment.sync(True)
    path = os.path.join(environment.path(), "data.mdb")
    pages = {}
    heads = np.fromfile(path, np.uint8).reshape(-1, 4096)[:, :16].copy().view(_PAGE)
    with environment.begin() as txn:
        in_use = _in_use(path, txn.id())
    for number, head in enumerate(heads[:, 0]):
        if in_use[number]:
            pages.setdefault(int(head["flags"]), []).append(number)
    environment.close()
    return path, pages


def _in_use(path, txn):
    """Find the pages of the tree "values" from its root, by LMDB's own numbers."""
    data = np.fromfile(path, np.uint8).reshape(-1, 4096)
    main = int(data[txn & 1, 16 + 24 + 48 + 40 :][:8].view("u8")[0])
    place = int(data[main, 16:18].view("u2")[0]) + 8 + len(b"values")
    root = int(data[main, place + 40 :][:8].view("u8")[0])
    assert data[root, 10] == 1
    n_children = (int(data[root, 12:14].view("u2")[0]) - 16) // 2
    used = np.zeros(len(data), bool)
    used[root] = True
    for i in range(n_children):
        at = int(data[root, 16 + 2 * i :][:2].view("u2")[0])
        used[int(data[root, at : at + 4].view("u4")[0])] = True
    return used


def _poke(path, page, offset, value, n_bytes=2):
    with open(path, "r+b") as file:
        file.seek(page * 4096 + offset)
        file.write(value.to_bytes(n_bytes, "little"))


def _txn(path):
    data = np.fromfile(path, np.uint8)
    return max(int(data[p + 16 + 24 + 96 + 8 :][:8].view("u8")[0]) for p in (0, 4096))


def _first_node(path, page):
    data = np.fromfile(path, np.uint8).reshape(-1, 4096)
    return int(data[page, 16:18].view("u2")[0])


@pytest.mark.parametrize(
    ("kind", "offset", "value", "reason"),
    [
        (2, 0, 9, "page number"),
        (2, 10, 0x12, "kind of a page"),
        (2, 10, 1, "kind of a page"),
        (2, 12, 16, "page"),
        (2, 12, 4095, "page"),
        (2, 12, 4096, "page"),
        (2, 14, 4098, "page"),
        (2, 16, 4095, "node"),
        (2, 16, 4094, "node"),
        (2, 16, 20, "node"),
        (1, 12, 18, "page"),
        (1, 16, 0, "node"),
    ],
)
def test_a_page_that_leads_astray(small, kind, offset, value, reason):
    path, pages = small
    check_pages(path, _txn(path))
    _poke(path, pages[kind][0], offset, value)
    with pytest.raises(UnsoundError, match=re.escape(f"({reason})")):
        check_pages(path, _txn(path))


@pytest.mark.parametrize(
    ("kind", "offset", "value", "reason"),
    [
        (2, 0, 60_000, "node"),
        (2, 2, 0xFFFF, "node"),
        (2, 4, 4, "node"),
        (2, 4, 2, "databases"),
        (2, 6, 600, "key"),
        (2, 6, 0, "node"),
        (1, 0, 60_000, "page number"),
        (1, 4, 0xFFFF, "page number"),
        (1, 0, 0, "page number|pages used twice|kind of a page"),
    ],
)
def test_a_node_that_leads_astray(small, kind, offset, value, reason):
    path, pages = small
    page = pages[kind][0]
    _poke(path, page, _first_node(path, page) + offset, value)
    with pytest.raises(UnsoundError, match=reason):
        check_pages(path, _txn(path))


def test_two_ways_to_one_page(small):
    path, pages = small
    root = pages[1][0]
    data = np.fromfile(path, np.uint8).reshape(-1, 4096)[root]
    first, second = (int(x) for x in data[16:20].view("u2"))
    child = int(data[first : first + 4].view("u4")[0])
    _poke(path, root, second, child, 4)
    with pytest.raises(UnsoundError, match="pages used twice"):
        check_pages(path, _txn(path))


@pytest.mark.parametrize(
    ("offset", "value", "n_bytes", "reason"),
    [
        (16 + 16, 2**62, 8, "map size"),
        (16 + 24 + 96, 2**40, 8, "number of pages"),
        (16 + 24, 0, 4, "page size"),
        (16 + 24, 4097, 4, "page size"),
        (16 + 24, 1 << 20, 4, "page size"),
        # LMDB would map the file where the address says.
        (16 + 28, 9, 2, "flags"),
    ],
)
@pytest.mark.parametrize("page", [0, 1])
def test_a_head_that_leads_astray(small, page, offset, value, n_bytes, reason):
    path, _ = small
    check_heads(path)
    _poke(path, page, offset, value, n_bytes)
    with pytest.raises(UnsoundError, match=reason):
        check_heads(path)


@pytest.mark.parametrize(
    ("offset", "value", "n_bytes"),
    [(4, 9, 2), (6, 33, 2), (6, 0, 2), (40, 2**40, 8), (40, 2**64 - 1, 8)],
)
@pytest.mark.parametrize("tree", [24, 72])
def test_a_tree_that_leads_astray(small, tree, offset, value, n_bytes):
    path, _ = small
    page = _txn(path) & 1
    _poke(path, page, 16 + tree + offset, value, n_bytes)
    with pytest.raises(UnsoundError):
        check_pages(path, _txn(path))


def test_files_of_others_are_left_to_lmdb(tmp_path):
    path = tmp_path / "data.mdb"
    for content in (b"", b"hello", bytes(8192), b"\xff" * 8192):
        path.write_bytes(content)
        check_heads(path)
