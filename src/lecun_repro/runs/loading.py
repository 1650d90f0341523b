"""What a run takes from a checkpoint: another run's weights, a trained network, or all that it goes on from."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

import lecun_repro
from lecun_repro.errors import BadArgument, one_line
from lecun_repro.models.base import Network
from lecun_repro.runs.checkpoints import CHECKPOINT, checkpoint_config, load_checkpoint
from lecun_repro.runs.weights import NETWORK, digest
from lecun_repro.training.module import DigitClassifier


def network_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The network's weights in the checkpoint that a new run starts from, as they were trained and not averaged.

    Raises:
        BadArgument: As `load_checkpoint`; or it holds no such weights.
    """
    state = load_checkpoint(path, "from_weights")["state_dict"]
    named = state.items() if isinstance(state, dict) else ()
    weights = {str(name).removeprefix(NETWORK): value for name, value in named if str(name).startswith(NETWORK)}
    if not weights or not all(map(is_whole, weights.values())):
        raise BadArgument("from_weights", f"{path}, which has no finite weights of a network", CHECKPOINT)
    return weights


def is_whole(weights: Any) -> bool:
    """Whether it is a tensor of finite numbers that are all there, as those of an expanded one are not."""
    there = isinstance(weights, torch.Tensor) and weights.nbytes <= weights.untyped_storage().nbytes()
    return there and bool(weights.isfinite().all())


def weights_digest(path: str | Path) -> str:
    """A digest of what `network_weights` gives."""
    return digest(network_weights(path))[:16]


def start_from(module: DigitClassifier, path: str | Path) -> None:
    """Gives the network the weights of another run's checkpoint. Raises BadArgument where they are not its own."""
    weights = network_weights(path)
    try:
        module.network.load_state_dict(weights)
    except Exception as error:
        what = f"{path}, which does not fit: {one_line(str(error))[:300]}"
        raise BadArgument("from_weights", what, "a checkpoint of this network") from None


def network_of(path: str | Path, key: str) -> Network:
    """The network of this package that a checkpoint holds, as it is evaluated. `key` is the argument that names it.

    Raises:
        BadArgument: As `load_checkpoint`; or it holds no such network.
    """
    checkpoint = load_checkpoint(path, key)
    try:
        model = checkpoint_config(checkpoint["lecun_repro"], ())["model"]
        name, averaged = model["network"]["class_path"], model.get("average") is not None
        kind = getattr(lecun_repro, name.removeprefix("lecun_repro."), None)
        if not (isinstance(kind, type) and issubclass(kind, Network)):
            raise ValueError(f"has the network {name}, which is none of this package")
        network = kind(**(model["network"].get("init_args") or {}))
        prefix = f"average.{NETWORK}" if averaged else NETWORK
        state = checkpoint["state_dict"].items()
        network.load_state_dict({n.removeprefix(prefix): weights for n, weights in state if n.startswith(prefix)})
    except Exception as error:
        raise BadArgument(key, f"{path}, which {one_line(str(error))[:200]}", CHECKPOINT) from None
    return network.eval()


def load_into(module: DigitClassifier, checkpoint: dict[str, Any], resumes: bool) -> None:
    """Loads a checkpoint's weights; where a fit `resumes`, all else is tried on an optimizer, a schedule and a trainer.

    Lightning would go on without what is missing: from the first pass, or with a fresh optimizer.

    Raises:
        Exception: Of whatever kind, for contents that are not those of this network, optimizer and schedule.
    """
    module.load_state_dict(checkpoint["state_dict"])
    for name, parameter in module.named_parameters():
        if not parameter.isfinite().all():
            raise ValueError(f"{name} holds NaN or an infinity")
    if not resumes:
        return
    module.on_load_checkpoint(checkpoint)
    made = module.configure_optimizers()
    optimizers, schedules = made if isinstance(made, tuple) else ([made], [])
    for key, parts in (("optimizer_states", optimizers), ("lr_schedulers", schedules)):
        for part, state in zip(parts, checkpoint[key], strict=True):
            part.load_state_dict(state)
    for parameter, state in optimizers[0].state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(f"the optimizer's {name} is {tuple(value.shape)} for weights {tuple(parameter.shape)}")
    Trainer(accelerator="cpu", logger=False).fit_loop.load_state_dict(checkpoint["loops"]["fit_loop"])
    saved = checkpoint["lecun_repro"]
    counts = (saved["updates_done"], saved["update_seconds"], saved["seconds"], *(e["pass"] for e in saved["curve"]))
    if not all(isinstance(count, int | float) for count in counts):
        raise ValueError("it counts in other things than numbers")
