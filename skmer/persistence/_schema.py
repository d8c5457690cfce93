"""What skops is given to read: checked before skops sees it."""

import ast
import io
import json
import math
import re
import struct
import zipfile

import numpy as np

from skmer.exceptions import ModelFormatError
from skmer.persistence._trust import untrusted

_MEMBER = re.compile(r"(\d+\.npy|schema\.json)\Z")
_PROTOCOLS = (2,)
_MOST_SCHEMA = 256 * 2**20
_DEEPEST = 400

# Loader of a node -> the types that it may make; what is not here is refused. skops
# has loaders that call what a file names (bound methods, partials, operators,
# constructors): models need none of them.
_FIXED = {
    "DTypeNode": {"numpy.dtype"},
    "DictNode": {
        "builtins.dict",
        "collections.OrderedDict",
        "sklearn.utils._bunch.Bunch",
    },
    "JsonNode": {"builtins.str"},
    "ListNode": {"builtins.list"},
    "NdArrayNode": {
        f"numpy.{name}"
        for name in (
            "bool bool_ float16 float32 float64 int8 int16 int32 int64 ndarray str_ "
            "uint8 uint16 uint32 uint64"
        ).split()
    },
    "RandomStateNode": {"numpy.random.mtrand.RandomState"},
    "SetNode": {"builtins.set"},
    "SliceNode": {"builtins.slice"},
    "TupleNode": {"builtins.tuple"},
}
_KEYS = {"builtins.str", "builtins.int", "builtins.float"}
# Loaders for types that the user trusts by name.
_ON_REQUEST = {"TreeNode"}


def check_archive(data, trust):
    """Refuse an archive that is not what :func:`skmer.persistence.save_model` writes.

    Parameters
    ----------
    data : bytes
        The file that skops is to load.
    trust : Trust
        What is trusted besides skmer's lists.

    Returns
    -------
    names : set of str
        All types that the file names.

    Raises
    ------
    ModelFormatError
        If it is damaged, or names what is not trusted.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = _members(archive, len(data))
            schema = _json(archive.read("schema.json"))
            arrays = {name for name in sizes if name != "schema.json"}
            for name in arrays:
                _check_array(name, archive.read(name))
    except ModelFormatError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError) as error:
        raise ModelFormatError(
            f"estimator.skops is no archive of skops, or is damaged: {error}."
        ) from None
    return _check_nodes(schema, arrays, trust)


def _members(archive, n_bytes):
    """Return the sizes of an archive's members, none of them packed."""
    sizes = {}
    for info in archive.infolist():
        packed = info.compress_type != zipfile.ZIP_STORED
        if packed or info.flag_bits & 1 or info.compress_size != info.file_size:
            raise _bad(f"its member {info.filename!r} is packed, and skmer packs none")
        if not _MEMBER.match(info.filename) or info.filename in sizes:
            raise _bad(f"it has a member {info.filename!r}")
        sizes[info.filename] = info.file_size
    if "schema.json" not in sizes:
        raise _bad("it has no schema.json")
    # Members that share bytes would be more than the file.
    if sum(sizes.values()) > n_bytes:
        raise _bad("its members are larger than the file")
    if sizes["schema.json"] > _MOST_SCHEMA:
        raise _bad(f"its schema has {sizes['schema.json']} bytes")
    return sizes


def _json(text):
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(f"its schema is no JSON ({error})") from None
    if not isinstance(schema, dict):
        raise _bad("its schema is no object")
    protocol = schema.get("protocol")
    if isinstance(protocol, bool) or protocol not in _PROTOCOLS:
        raise _bad(f"it has protocol {protocol!r}, and skmer reads {_PROTOCOLS}")
    return schema


def _check_array(name, data):
    """Hold the header of a .npy file to the bytes behind it."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        size = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}[version]
        (length,) = struct.unpack(size, stream.read(struct.calcsize(size)))
        if length > 10_000:
            raise ValueError(f"a header of {length} bytes")
        text = stream.read(length).decode("latin1" if version[0] < 3 else "utf8")
        header = ast.literal_eval(text)
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        shape = header["shape"]
        if dtype.hasobject or dtype.itemsize == 0:
            raise ValueError(f"of dtype {dtype}")
        if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError(f"of shape {shape}")
        wanted = math.prod(shape) * dtype.itemsize
        if wanted != len(data) - stream.tell():
            raise ValueError(
                f"of {wanted} bytes by its header, of which "
                f"{len(data) - stream.tell()} are there"
            )
    except (ValueError, LookupError, TypeError, SyntaxError, struct.error) as error:
        raise _bad(f"its array {name} is damaged: {error}") from None
    except (MemoryError, RecursionError):
        raise _bad(f"its array {name} is damaged: a header too deep") from None


def _check_nodes(schema, arrays, trust):
    """Walk all nodes; refuse loaders and types that are not listed."""
    objects, named = trust.objects(), trust.named()
    names, unknown = {"numpy.dtype", "sklearn.utils._bunch.Bunch"}, set()
    of_id, found_ids, keys = {}, {}, set()
    stack = [(schema, 0)]
    while stack:
        node, depth = stack.pop()
        if not isinstance(node, dict) or depth > _DEEPEST:
            raise _bad("its schema is no tree of nodes")
        loader, module, cls = (
            node.get(key) for key in ("__loader__", "__module__", "__class__")
        )
        if not all(isinstance(part, str) for part in (loader, module, cls)):
            raise _bad("a node of its schema lacks its type")
        name = f"{module}.{cls}"
        if loader in ("ObjectNode", "TypeNode", "FunctionNode", *_ON_REQUEST):
            names.add(name)
            allowed = {"ObjectNode": objects}.get(loader, named)
            if name not in (trust.names if loader in _ON_REQUEST else allowed):
                unknown.add(name)
        elif name not in _FIXED.get(loader, ()):
            raise _bad(f"it asks for {name} by {loader}, which no model of skmer needs")
        number = node.get("__id__")
        if number is not None:
            if type(number) is not int:
                raise _bad(f"a node has the id {number!r}")
            # skops takes a node for the first one of its id.
            if of_id.setdefault(number, (loader, name)) != (loader, name):
                raise _bad(f"two kinds of nodes have the id {number}")
            found_ids[number] = found_ids.get(number, 0) + 1
        children = _children(loader, node, arrays)
        if loader == "DictNode":
            _check_keys(node["key_types"], len(node["content"]), keys)
        stack.extend((child, depth + 1) for child in children)
    for number in keys:
        # A list of key types is what skops calls: nothing may stand in for one.
        if found_ids[number] != 1:
            raise _bad(f"key types have the id {number}, which others have")
    if unknown:
        raise untrusted(unknown)
    return names


def _children(loader, node, arrays):
    """Return the nodes below a node, whose own fields are checked."""
    content = node.get("content")
    if loader in ("ListNode", "SetNode", "TupleNode"):
        if isinstance(content, list):
            return content
    elif loader == "DictNode":
        if isinstance(content, dict) and isinstance(node.get("key_types"), dict):
            return [*content.values(), node["key_types"]]
    elif loader == "JsonNode":
        if isinstance(content, str) and _is_plain(content):
            return []
    elif loader == "SliceNode":
        parts = content.values() if isinstance(content, dict) else [object()]
        if all(part is None or type(part) is int for part in parts):
            return []
    elif loader == "NdArrayNode":
        if node.get("type") == "numpy" and node.get("file") in arrays:
            return []
    elif loader in ("TypeNode", "FunctionNode"):
        return []
    elif loader == "ObjectNode":
        return [] if content is None else [content]
    elif loader in ("RandomStateNode", "DTypeNode"):
        if content is not None:
            return [content]
    elif loader in _ON_REQUEST:
        reduced = node.get("__reduce__")
        if isinstance(reduced, dict):
            return [content, reduced.get("args")]
    raise _bad(f"a node of {node['__module__']}.{node['__class__']} is damaged")


def _is_plain(text):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return value is None or isinstance(value, (str, int, float, bool))


def _check_keys(node, n_keys, keys):
    """Hold key types, which skops calls with the keys, to those of text and numbers."""
    content = node.get("content")
    right = (
        node.get("__loader__") == "ListNode"
        and isinstance(content, list)
        and len(content) == n_keys
        and all(
            isinstance(child, dict)
            and child.get("__loader__") == "TypeNode"
            and f"{child.get('__module__')}.{child.get('__class__')}" in _KEYS
            for child in content
        )
    )
    if not right:
        raise _bad("a dict of its schema has keys that are no text or numbers")
    if node.get("__id__") is not None:
        keys.add(node["__id__"])


def _bad(reason):
    return ModelFormatError(
        f"estimator.skops cannot be trusted or is damaged: {reason}. Nothing was "
        "loaded from it."
    )
