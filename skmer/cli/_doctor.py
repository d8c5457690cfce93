"""``skmer doctor``: what of all that skmer needs is at hand."""

import json

from skmer.cli._console import counted, result
from skmer.cli._parser import add_command

_EXAMPLE = """
    example:
      $ skmer doctor
      skmer 0.1.0, Python 3.11.9 on Linux-6.8-x86_64
      ...
      decoding     ok: wrote and read a second of video and sound
      ...
      All that skmer needs is there.

    Nothing is downloaded and no server is asked, unless with --hub. A line that
    begins with ! says what is wrong and what to do; what is optional is only listed.
    Exit code 1 if something is missing without which skmer does not work.

      $ skmer doctor --json > machine.json     the same for programs and bug reports
"""


def add_parser(subparsers):
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "doctor",
        run,
        usage="[--json] [--hub]",
        summary="Check versions, devices, decoders, cache, extras and models",
        example=_EXAMPLE,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--hub", action="store_true", help="also ask whether the model hub answers"
    )


def run(args):
    """Look at everything, print it, and return 1 if something essential fails."""
    from skmer.cli._machine import examine

    found = examine(hub=args.hub)
    if args.json:
        result(json.dumps(found, indent=2))
    else:
        result("\n".join(_lines(found)))
    return 1 if found["problems"] else 0


def _lines(found):
    yield f"skmer {found['skmer']}, Python {found['python']} on {found['platform']}"
    yield from _block(
        "packages", [f"{n} {v or '-'}" for n, v in found["packages"].items()], width=4
    )
    yield from _block("devices", _devices(found["devices"]))
    yield from _block("decoding", _decoding(found["decoding"]))
    yield from _block("cache", _cache(found["cache"]))
    yield from _block("data", _folder(found["data_home"]))
    yield from _block("extras", _extras(found["extras"]))
    yield from _block("models", _models(found["models"]))
    yield ""
    for advice in found["advice"]:
        yield f"! {advice}"
    for problem in found["problems"]:
        yield f"! {problem}"
    if not found["problems"]:
        yield "All that skmer needs is there."


def _block(title, lines, width=1):
    rows = [", ".join(lines[i : i + width]) for i in range(0, len(lines), width)]
    for number, row in enumerate(rows):
        yield f"{title if number == 0 else '':<11}  {row}"


def _devices(devices):
    if "error" in devices:
        return [f"PyTorch cannot be used: {devices['error']}"]
    cpu = f"CPU with {counted(devices['cpu_cores'], 'core')}, PyTorch takes "
    return [
        *(
            f"{gpu['device']}: {gpu['name']}, {gpu['gib']} GiB"
            for gpu in devices["gpus"]
        ),
        *(["mps: Apple GPU"] if devices["mps"] else []),
        cpu + counted(devices["threads"], "thread"),
        f"device='auto' is {devices['auto']}",
    ]


def _decoding(decoding):
    if "error" in decoding:
        return [f"fails: {decoding['error']}"]
    return [
        f"ok: wrote and read {counted(decoding['frames'], 'frame')} and "
        f"{decoding['seconds']:.2f} s of sound in {decoding['took']:.2f} s",
        f"PyAV {decoding['pyav']} with FFmpeg's libavcodec {decoding['libavcodec']}",
    ]


def _cache(cache):
    lines = _folder(cache)
    if cache.get("exists"):
        size = cache["bytes"] / 2**20
        lines.append(f"{counted(cache['entries'], 'record')}, {size:,.1f} MiB")
    return lines


def _folder(folder):
    if "error" in folder:
        return [f"cannot be looked at: {folder['error']}"]
    state = "exists" if folder["exists"] else "will be made when it is needed"
    may = "writable" if folder["writable"] else "NOT writable"
    disk = folder["network"] or "local disk"
    return [
        folder["path"],
        f"{state}, {may}, {disk}, {folder['free_bytes'] / 2**30:,.1f} GiB free",
    ]


def _extras(extras):
    return [
        f"{name:<10} {'yes' if extra['there'] else 'no ':<4} "
        + (
            ", ".join(extra["packages"])
            if extra["there"]
            else f"lacks {', '.join(extra['missing'])}; {extra['install']}"
        )
        for name, extra in extras.items()
    ]


def _models(models):
    if "error" in models:
        return [f"cannot be looked at: {models['error']}"]
    lines = [
        f"{'yes' if model['there'] else 'no ':<4} {name} "
        f"({', '.join(model['recipes'])})"
        for name, model in models["paper"].items()
    ]
    how = {None: "not asked (--hub asks)", True: "answers", False: "does not answer"}
    offline = ", HF_HUB_OFFLINE is set" if models["offline"] else ""
    return [
        f"downloaded to {models['folder']}, for --encoders paper:",
        *lines,
        f"hub {models['endpoint']}: {how[models['answers']]}{offline}",
    ]
