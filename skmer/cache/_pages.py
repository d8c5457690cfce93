"""Is the index of an LMDB file sound? LMDB itself believes what stands there.

A size or a page number that is damaged, or forged, makes LMDB read and write beyond
its pages, which kills the process at best. So the trees of pages are walked before
they are used. The values are not looked at: their checksums are, when they are read.
The layout is that of LMDB 0.9 on 64-bit systems (``mdb.c``, "Page header").
"""

import sys
from mmap import ACCESS_READ, mmap

import numpy as np

_META = np.dtype(
    [
        *(("head", "u1", 16), ("magic", "u4"), ("version", "u4"), ("address", "u8")),
        *(("map_size", "u8"), ("free", "u1", 48), ("main", "u1", 48)),
        *(("last_page", "u8"), ("txn", "u8")),
    ]
)
_TREE = np.dtype(
    [
        *(("page_size", "u4"), ("flags", "u2"), ("depth", "u2"), ("branches", "u8")),
        *(("leaves", "u8"), ("overflows", "u8"), ("entries", "u8"), ("root", "u8")),
    ]
)
_PAGE = np.dtype(
    [
        *(("number", "u8"), ("pad", "u2"), ("flags", "u2")),
        *(("lower", "u2"), ("upper", "u2")),
    ]
)
_BRANCH, _LEAF = 1, 2
_BIG, _SUBTREE = 1, 2
_NO_ROOT = 2**64 - 1
_MAGIC, _VERSION, _INTEGER_KEYS = 0xBEEFC0DE, 1, 8
_NODE_BYTES, _LONGEST_KEY, _DEEPEST = 8, 511, 32
# Pages looked at together: a few megabytes.
_PIECE = 1024


class UnsoundError(ValueError):
    """The file's index cannot be what LMDB wrote."""


def check_heads(path):
    """Look at what a file says of itself, before LMDB opens it.

    Parameters
    ----------
    path : str
        A ``data.mdb``.

    Raises
    ------
    UnsoundError
        If LMDB would map it elsewhere, divide it otherwise or make room for far
        more than there is. Files that LMDB refuses are left to it.
    OSError
        If it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        size = file.seek(0, 2)
        file.seek(0)
        first = _meta(file.read(_META.itemsize))
        if first is None:
            return
        page_size = int(first["free"].view(_TREE)["page_size"][0])
        _need(512 <= page_size <= 65536 and page_size.bit_count() == 1, "page size")
        file.seek(page_size)
        for meta in (first, _meta(file.read(_META.itemsize))):
            if meta is None:
                return
            tree = meta["free"].view(_TREE)[0]
            _need(tree["flags"] == _INTEGER_KEYS, "flags")
            _need(tree["page_size"] == page_size, "page size")
            # Pages at the end that are not in use need not be there.
            n_bytes = (int(meta["last_page"]) + 1) * page_size
            _need(n_bytes <= 2 * size + 2**26, "number of pages")
            _need(meta["map_size"] < 2**46, "map size")


def check_pages(path, txn):
    """Walk all trees of pages.

    Parameters
    ----------
    path : str
        A ``data.mdb``.
    txn : int
        Number of the transaction whose pages are walked. They must not be written
        meanwhile.

    Raises
    ------
    UnsoundError
        If following them would lead out of a page or of the file, or twice to one.
    """
    with open(path, "rb") as file:
        data = np.frombuffer(mmap(file.fileno(), 0, access=ACCESS_READ), np.uint8)
    if sys.maxsize < 2**32 or _meta(data[: _META.itemsize]) is None:
        # Of another layout, that this LMDB reads all the same.
        return
    page_size = int(data[16 + 24 :][:4].view("u4")[0])
    start = page_size * (txn & 1)
    meta = np.array(data[start : start + _META.itemsize]).view(_META)[0]
    _need(meta["txn"] == txn, "number of transactions")
    walk = _Walk(data, page_size, int(meta["last_page"]) + 1)
    for place in walk.leaves(meta["free"].view(_TREE)[0], _INTEGER_KEYS):
        walk.check_free(*place)
    subtrees = []
    for piece, _, nodes in walk.leaves(meta["main"].view(_TREE)[0]):
        nodes = nodes[nodes["flags"] == _SUBTREE]
        _need((nodes["size"] == _TREE.itemsize).all(), "databases")
        subtrees += list(_bytes(piece, nodes["data"], 48).view(_TREE)[:, 0])
    for tree in subtrees:
        for _, _, nodes in walk.leaves(tree):
            _need((nodes["flags"] != _SUBTREE).all(), "databases")
    walk.check_claims()


class _Walk:
    """The pages that trees lead to.

    ``claims`` holds for each page how many more things begin than end there.
    """

    def __init__(self, data, page_size, n_pages):
        n_there = len(data) // page_size
        self.pages = data[: n_there * page_size].reshape(n_there, page_size)
        self.page_size = page_size
        self.n_pages = n_pages
        self.n_there = min(n_pages, n_there)
        self.claims = np.zeros(n_pages + 1, dtype=np.int64)
        self.claim(np.zeros(1, np.int64), 2, self.n_there)

    def claim(self, first, n_pages, end):
        """Note what begins at some pages as used; it may not reach beyond an end."""
        _need(((first >= 0) & (first < end)).all(), "page number")
        last = first + n_pages
        _need((last <= end).all(), "page number")
        np.add.at(self.claims, first, 1)
        np.add.at(self.claims, last, -1)

    def check_claims(self):
        _need((np.cumsum(self.claims) <= 1).all(), "pages used twice")

    def leaves(self, tree, flags=0):
        """Yield pieces of a tree's leaves: bytes, numbers, and the nodes in them."""
        depth, root = int(tree["depth"]), int(tree["root"])
        _need(tree["flags"] == flags and depth <= _DEEPEST, "flags of a tree")
        _need((root == _NO_ROOT) == (depth == 0), "root of a tree")
        level = np.array([root] if depth else [], dtype=np.uint64)
        while depth:
            depth -= 1
            level = level.astype(np.int64)
            self.claim(level, 1, self.n_there)
            children = []
            for begin in range(0, len(level), _PIECE):
                numbers = level[begin : begin + _PIECE]
                piece = self.pages[numbers].reshape(-1)
                nodes = self.nodes(numbers, piece, _BRANCH if depth else _LEAF)
                if depth:
                    children.append(nodes["child"])
                    continue
                big = nodes[nodes["flags"] == _BIG]
                first = _bytes(piece, big["data"], 8).view("u8")[:, 0]
                n_pages = self.pages_of(big["size"])
                self.claim(first.astype(np.int64), n_pages, self.n_there)
                yield piece, numbers, nodes
            level = np.concatenate(children) if depth else level

    def pages_of(self, size):
        """Return the pages that a value of some bytes has to itself."""
        return (size + _PAGE.itemsize + self.page_size - 1) // self.page_size

    def nodes(self, numbers, piece, kind):
        """Return what stands in pages of one kind."""
        size = self.page_size
        heads = piece.reshape(-1, size)[:, : _PAGE.itemsize].copy().view(_PAGE)[:, 0]
        lower, upper = heads["lower"].astype(int), heads["upper"].astype(int)
        _need((heads["number"] == numbers.astype(np.uint64)).all(), "page number")
        _need((heads["flags"] == kind).all(), "kind of a page")
        counts = (lower - _PAGE.itemsize) // 2
        _need((counts >= (2 if kind == _BRANCH else 1)).all(), "page")
        _need((lower % 2 == 0).all() and (lower <= upper).all(), "page")
        _need((upper <= size).all(), "page")
        words = piece.view("u2")
        rows = np.repeat(np.arange(len(counts)), counts)
        columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        offsets = words[rows * (size // 2) + _PAGE.itemsize // 2 + columns].astype(int)
        _need((offsets % 2 == 0).all() and (offsets >= upper[rows]).all(), "node")
        _need((offsets <= size - _NODE_BYTES).all(), "node")
        at = rows * size + offsets
        low, high, flags, key = (words[at // 2 + i].astype(int) for i in range(4))
        nodes = np.zeros(len(at), [(n, "i8") for n in "child size flags data".split()])
        _need((key <= _LONGEST_KEY).all(), "key")
        if kind == _BRANCH:
            nodes["child"] = low | high << 16 | flags << 32
            length = _NODE_BYTES + key
        else:
            _need(np.isin(flags, (0, _BIG, _SUBTREE)).all() and (key > 0).all(), "node")
            nodes["size"], nodes["flags"] = low | high << 16, flags
            nodes["data"] = at + _NODE_BYTES + key
            inside = np.where(flags == _BIG, 8, nodes["size"])
            length = _NODE_BYTES + key + inside
        length += length % 2
        _need((offsets + length <= size).all(), "node")
        order = np.argsort(at)
        _need((np.diff(at[order]) >= length[order[:-1]]).all(), "nodes")
        return nodes

    def check_free(self, piece, numbers, nodes):
        """Check lists of free pages: how many, then their numbers, falling."""
        for node in nodes:
            size, start = int(node["size"]), int(node["data"])
            _need(node["flags"] != _SUBTREE and size >= 8, "list of free pages")
            source = piece
            if node["flags"] == _BIG:
                first = int(_bytes(piece, node["data"][None], 8).view("u8")[0, 0])
                source, start = self.pages.reshape(-1), first * self.page_size + 16
            listed = source[start : start + size // 8 * 8].copy().view("u8")
            _need(len(listed) and listed[0] < len(listed), "list of free pages")
            free = listed[1 : int(listed[0]) + 1]
            _need((free < self.n_pages).all(), "list of free pages")
            free = free.astype(np.int64)
            _need((np.diff(free) < 0).all(), "list of free pages")
            # Free pages at the end may never have been written.
            self.claim(free, 1, self.n_pages)


def _bytes(piece, places, n_bytes):
    return piece[places[:, None] + np.arange(n_bytes)]


def _meta(raw):
    if len(raw) < _META.itemsize:
        return None
    meta = np.frombuffer(raw, _META)[0]
    known = (meta["magic"], meta["version"]) == (_MAGIC, _VERSION)
    return meta if known else None


def _need(holds, what):
    if not holds:
        raise UnsoundError(f"its index is damaged ({what})")
