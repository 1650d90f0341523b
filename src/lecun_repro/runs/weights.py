"""Exported weights, `.safetensors`: written with all that a checkpoint says of itself, and read back as one.

So they serve wherever a checkpoint is evaluated. Those of one network ship with the package.
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from lecun_repro.training.module import CHECKPOINT_FORMAT

SUFFIX = ".safetensors"
# Replaced by `export --ckpt_path FILE --to src/lecun_repro/runs/trained.safetensors`.
SHIPPED = Path(__file__).with_name(f"trained{SUFFIX}")

NETWORK = "network."  # begins the names of its weights in a checkpoint


def metadata(saved: dict[str, Any]) -> dict[str, str]:
    """What an exported file says of its origin: row, the command that trained it, configuration and final results."""
    row, command = (str(saved.get(name)).encode(errors="replace").decode() for name in ("row", "command"))
    texts = {"config": json.dumps(saved["config"]), "results": json.dumps(final_results(saved))}
    return {"row": row, "command": command, **texts, "lecun_repro": version("lecun-repro")}  # as UTF-8


def final_results(saved: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Digits and misses of each split at the end of the fit, where a checkpoint has them."""
    results = saved.get("results")
    counts: dict[str, dict[str, int]] = {}
    for split, result in results.items() if isinstance(results, dict) else ():
        n, misses = (result.get(name) if isinstance(result, dict) else None for name in ("n", "misses"))
        if type(n) is int and type(misses) is int and 0 <= misses <= n > 0:
            counts[str(split)] = {"n": n, "misses": misses}
    return counts


def packed(weights: dict[str, torch.Tensor], told: dict[str, str]) -> bytes:
    """A file's contents. The format has no checksum; a digest of weights and metadata is put to the latter."""
    return save(weights, metadata=told | {"sha256": digest(weights, told)})


def digest(weights: dict[str, torch.Tensor], told: dict[str, str] | None = None) -> str:
    """Of the tensors with their names, kinds and shapes, and of what else is `told`."""
    sha = hashlib.sha256("".join(f"{name}={text}\n" for name, text in sorted((told or {}).items())).encode())
    for name, tensor in sorted(weights.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def read_weights(path: str | Path) -> dict[str, Any]:
    """An exported file as a checkpoint that has no optimizer, schedule or passes to go on from.

    Raises:
        ValueError: Its digest is not that of its contents.
    """
    with safe_open(path, "pt") as file:
        told = dict(file.metadata() or {})
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if told.pop("sha256", None) != digest(weights, told):
        raise ValueError("its digest is not that of its contents, as export writes it")
    saved: dict[str, Any] = {"format": CHECKPOINT_FORMAT, "row": told["row"], "command": told["command"]}
    saved |= {"config": json.loads(told["config"]), "results": json.loads(told["results"])}
    saved["config"]["model"]["average"] = None  # what is exported are the averaged weights themselves
    return {"lecun_repro": saved, "state_dict": {NETWORK + name: tensor for name, tensor in weights.items()}}


def described(saved: dict[str, Any]) -> str:
    """A checkpoint's row, seed and errors in a line."""
    counts = final_results(saved)
    split = "holdout" if "holdout" in counts else "test"
    errors = f", {counts[split]['misses']} of {counts[split]['n']:,} {split} digits missed" if split in counts else ""
    return f"row {saved['row']}, seed {saved['config']['seed_everything']}{errors}"
