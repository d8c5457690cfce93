"""Clips a second of encoders with models, against the usual script.

The usual script takes one clip at a time: read, processor on the CPU, the whole
model with all its hidden states, layers averaged and pooled over time, one ``.npy``
a clip. Models have random weights and the shapes of HuBERT and CLIP.

On the CPU the models are of base size. On a GPU, where PyTorch sees one, they are of
large size, and further lines tell how busy it is: the share of the time in which the
model runs (CUDA events around its forward passes), the share that is not hidden
behind it, GPU utilisation as the driver reports it, and what the model computes
beside one large matrix product of the same number format.

The last part is host memory: resident memory in the course of 5,000 clips and a tiny
model, from the 500th clip on.

Run from the project's folder::

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/model_extraction.py

Sides are interleaved. On the CPU both have two cores: the script by two threads of
the model, where that is faster than one, the encoder by two processes of one thread.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch
import transformers
from PIL import Image

from skmer._pretrained import unload_backbones
from skmer.datasets import make_clips
from skmer.encoders import SpeechEncoder, VisualEncoder
from skmer.encoders._engine import encode_with
from skmer.media import read_audio, read_frames, write_clip

RATE = 16_000
LAYERS = {"base": range(5, 9), "large": range(16, 22)}
SPEECH = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
}
VISION = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "patch_size": 32},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14},
}


def speech_model(size, folder):
    """Save a random model of the shape of HuBERT; return its folder."""
    width = SPEECH[size]["hidden_size"]
    config = transformers.HubertConfig(
        **SPEECH[size],
        intermediate_size=4 * width,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_dim=[512 if size != "tiny" else 16] * 7,
    )
    folder = Path(folder) / f"hubert-{size}"
    transformers.HubertModel(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(
        folder
    )
    return folder


def vision_model(size, folder):
    """Save a random model of the shape of CLIP; return its folder."""
    width = VISION[size]["hidden_size"]
    config = transformers.CLIPConfig(
        vision_config={
            **VISION[size],
            "intermediate_size": 4 * width,
            "num_attention_heads": width // 64,
        },
        text_config={"num_hidden_layers": 1, "hidden_size": 64, "vocab_size": 100},
        projection_dim=768,
    )
    folder = Path(folder) / f"clip-{size}"
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessorPil().save_pretrained(folder)
    return folder


class UsualScript:
    """One clip at a time, as scripts of the field do it."""

    def __init__(self, model, device, kind, layers=None, n_threads=1):
        self.device, self.kind, self.n_threads = device, kind, n_threads
        self.layers = None if layers is None else list(layers)
        self.model = transformers.AutoModel.from_pretrained(model).eval().to(device)
        if device != "cpu":
            self.model = self.model.half()
        if kind == "speech":
            self.processor = transformers.AutoFeatureExtractor.from_pretrained(model)
        else:
            self.processor = transformers.AutoImageProcessor.from_pretrained(model)

    @torch.no_grad()
    def __call__(self, paths, folder):
        """Write one file a clip; return the features."""
        torch.set_num_threads(self.n_threads)
        rows = []
        for path in paths:
            row = self.sound(path) if self.kind == "speech" else self.pictures(path)
            np.save(folder / f"{Path(path).stem}.npy", row)
            rows.append(row)
        return np.stack(rows)

    def to_model(self, values):
        """Copy an input to the model's device and number format."""
        return values.to(self.device, next(self.model.parameters()).dtype)

    def sound(self, path):
        """Encode the sound of one clip."""
        inputs = self.processor(
            read_audio(path, rate=RATE), sampling_rate=RATE, return_tensors="pt"
        )
        states = self.model(
            self.to_model(inputs.input_values), output_hidden_states=True
        ).hidden_states
        states = torch.stack(states)[self.layers, 0].mean(0)
        return states.float().cpu().numpy().mean(0)

    def pictures(self, path):
        """Encode eight pictures of one clip."""
        images = [Image.fromarray(image) for image in read_frames(path, 8).images]
        inputs = self.processor(images=images, return_tensors="pt")
        found = self.model.get_image_features(self.to_model(inputs.pixel_values))
        return found.pooler_output.float().cpu().numpy().mean(0)


def encoder_side(encoder):
    """Return a side that runs an encoder on an empty cache."""

    def run(paths, folder):
        torch.set_num_threads(1)
        encoder.set_params(cache=str(folder / "cache"))
        rows = encoder.transform(paths)
        encoder._store().close()
        return rows

    return run


def timed(side, paths):
    """Return the seconds one side takes in a folder of its own, and what it gives."""
    folder = Path(tempfile.mkdtemp())
    try:
        start = time.perf_counter()
        rows = side(paths, folder)
        return time.perf_counter() - start, rows
    finally:
        shutil.rmtree(folder)


def compare(title, sides, paths, rounds):
    """Print clips a second of each side and its ratio to the first."""
    times = {name: [] for name in sides}
    first = None
    for side in sides.values():  # loads models, starts workers
        timed(side, paths[:8])
    for _ in range(rounds):
        for name, side in sides.items():
            seconds, rows = timed(side, paths)
            times[name].append(seconds)
            first = rows if first is None else first
            scale = np.abs(first).max()
            assert np.abs(rows - first).max() < 0.02 * scale, name
    print(f"\n{title}: {len(paths)} clips, medians of {rounds} interleaved rounds")
    base = statistics.median(times[next(iter(times))])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:<46}{len(paths) / median:8.2f} clips/s  x{base / median:5.2f}")


class Utilisation:
    """What the driver says of the GPU, read ten times a second."""

    def __enter__(self):
        self.values, self.stop = [], threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self):
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader"]
        while not self.stop.wait(0.1):
            done = subprocess.run(query, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                self.values.append(float(done.stdout.split("\n")[0].split()[0]))

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    @property
    def mean(self):
        """Mean in percent, NaN where the driver tells nothing."""
        return statistics.mean(self.values) if self.values else float("nan")


def matmul_rate(dtype=torch.float16, n=8192):
    """Return what one large matrix product reaches, operations a second."""
    a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(20):
        a @ b
    end.record()
    torch.cuda.synchronize()
    return 20 * 2 * n**3 / (start.elapsed_time(end) / 1000)


def how_busy(title, encoder, paths, peak):
    """Print how much of the time the model runs, and how fast."""
    from torch.utils.flop_counter import FlopCounterMode

    job = encoder._job()
    network = job.load("cuda:0").model
    # Of CLIP a part is run that has no call of its own.
    network = getattr(network, "vision_model", network)
    events = []

    def before(*_):
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        events.append(event)

    handles = [
        network.register_forward_pre_hook(before),
        network.register_forward_hook(before),
    ]
    torch.cuda.synchronize()
    with Utilisation() as driver:
        seconds, _ = timed(encoder_side(encoder), paths)
    torch.cuda.synchronize()
    for handle in handles:
        handle.remove()
    busy = sum(
        a.elapsed_time(b) for a, b in zip(events[::2], events[1::2], strict=True)
    )
    with FlopCounterMode(display=False) as counter:
        encode_with(job, paths[:16], "cuda:0")
    n_operations = counter.get_total_flops() / 16 * len(paths)
    busy /= 1000
    print(f"  {title}: {len(paths) / seconds:.1f} clips/s")
    print(f"    model runs {busy / seconds:6.1%} of the time; not hidden behind it")
    print(
        f"    {1 - busy / seconds:6.1%}; utilisation by the driver {driver.mean:.0f} %"
    )
    print(
        f"    {n_operations / seconds / 1e12:.1f} Tflop/s, "
        f"{n_operations / seconds / peak:.1%} of a plain matrix product's "
        f"{peak / 1e12:.0f}"
    )


def sounds(folder, n, seconds, rng):
    """Write clips of noise of about the given length; return their paths."""
    paths = []
    for i in range(n):
        size = int(rng.uniform(0.6, 1.4) * seconds * RATE)
        path = Path(folder) / f"{i:05}.wav"
        write_clip(path, audio=rng.normal(0, 0.1, size).astype(np.float32), rate=RATE)
        paths.append(str(path))
    return paths


def memory(n_clips=5000):
    """Print the growth of resident memory in the course of a run."""
    with tempfile.TemporaryDirectory() as folder:
        model = speech_model("tiny", folder)
        paths = sounds(folder, n_clips, 0.5, np.random.default_rng(0))
        for device in ("cpu", ["cuda:0"] if torch.cuda.is_available() else ["cpu"]):
            unload_backbones()
            encoder = SpeechEncoder(
                model, layers=1, device=device, cache=str(Path(folder) / str(device))
            )
            process, seen = psutil.Process(), []
            for part in np.array_split(np.asarray(paths, dtype=object), 10):
                encoder.transform(list(part))
                seen.append(process.memory_info().rss / 2**20)
            how = "tasks" if device == "cpu" else f"read ahead of {device}"
            print(
                f"  {n_clips} clips, {how}: {seen[0]:.0f} MiB after a tenth, at most "
                f"{max(seen):.0f}: grown by {max(seen) - seen[0]:.0f}"
            )


def speech_on_cpu(folder, n_clips, rounds):
    """Compare both sides on sound on the CPU."""
    rng = np.random.default_rng(0)
    paths = sounds(folder, n_clips, 3.0, rng)
    model, layers = speech_model("base", folder), LAYERS["base"]
    sides = {
        f"usual script, {n} thread{'s' * (n > 1)}": UsualScript(
            model, "cpu", "speech", layers, n
        )
        for n in (1, 2)
    }
    for n_jobs in (1, 2):
        encoder = SpeechEncoder(model, layers=layers, n_jobs=n_jobs)
        sides[f"SpeechEncoder, early exit, n_jobs={n_jobs}"] = encoder_side(encoder)
    compare(f"HuBERT-base shape, layers {layers}, 3 s", sides, paths, rounds)


def vision_on_cpu(folder, n_clips, rounds):
    """Compare both sides on pictures on the CPU."""
    model = vision_model("base", folder)
    clips = make_clips(n_clips, Path(folder) / "clips", random_state=0)
    sides = {
        f"usual script, {n} thread{'s' * (n > 1)}": UsualScript(
            model, "cpu", "vision", n_threads=n
        )
        for n in (1, 2)
    }
    for n_jobs in (1, 2):
        encoder = VisualEncoder(model, regions=["frame"], n_jobs=n_jobs)
        sides[f"VisualEncoder, n_jobs={n_jobs}"] = encoder_side(encoder)
    compare("CLIP-B/32 shape, 8 frames", sides, clips.paths, rounds)


def on_gpu(folder, n_clips, rounds):
    """Compare both sides on a GPU, and tell how busy it is."""
    print(torch.cuda.get_device_name())
    rng = np.random.default_rng(0)
    paths = sounds(folder, n_clips, 5.0, rng)
    model, layers = speech_model("large", folder), LAYERS["large"]
    speech = SpeechEncoder(model, layers=layers, device="cuda:0")
    sides = {
        "usual script": UsualScript(model, "cuda:0", "speech", layers),
        "SpeechEncoder": encoder_side(speech),
    }
    compare(f"HuBERT-large shape, layers {layers}, 5 s", sides, paths, rounds)
    model = vision_model("large", folder)
    clips = make_clips(n_clips // 4, Path(folder) / "clips", random_state=0, n_jobs=-1)
    vision = VisualEncoder(model, regions=["frame"], device="cuda:0")
    sides = {
        "usual script": UsualScript(model, "cuda:0", "vision"),
        "VisualEncoder": encoder_side(vision),
    }
    compare("CLIP-L/14 shape, 8 frames", sides, clips.paths, rounds)
    print("\nhow busy the GPU is")
    peak = matmul_rate()
    how_busy("SpeechEncoder", speech, paths, peak)
    how_busy("VisualEncoder", vision, clips.paths, peak)


def main(n_clips, rounds, part):
    """Run what there is a device for."""
    gpu = torch.cuda.is_available()
    print(
        f"{os.cpu_count()} cores; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}; "
        f"torch {torch.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        if gpu and part != "memory":
            on_gpu(folder, n_clips or 1024, rounds)
        if not gpu and part in ("all", "speech"):
            speech_on_cpu(folder, n_clips or 24, rounds)
        if not gpu and part in ("all", "vision"):
            vision_on_cpu(folder, n_clips or 24, rounds)
    if part in ("all", "memory"):
        print("\nresident memory of the calling process")
        memory()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-clips", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--part", choices=["all", "speech", "vision", "memory"], default="all"
    )
    main(**vars(parser.parse_args()))
    sys.stdout.flush()
