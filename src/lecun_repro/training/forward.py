"""What a network's forward pass does beside its outputs: random numbers that it draws, buffers that it changes.

Both become inputs of an update, so that a run depends on its seed alone, compiled or not: all that `nn.Dropout` and
its like draw is made of uniform numbers from a generator that starts anew with every pass, and what `nn.BatchNorm2d`
and its like keep goes from update to update with the weights.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from lecun_repro.errors import BadArgument, one_line
from lecun_repro.models.base import Network

Take = Callable[[int], Tensor]  # so many uniform numbers in [0, 1), (n,)


def _normal(uniform: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv((2 * uniform - 1).clamp_min(-1 + 2**-24))  # 0 is among the uniform ones


# What a random operation makes of uniform numbers of its result's shape, given its arguments beside that shape.
FORMULAS: dict[str, Callable[..., Tensor]] = {
    "bernoulli": lambda u, p=0.5: u < p,
    "exponential": lambda u, rate=1.0: -torch.log1p(-u) / rate,
    "normal": lambda u, mean=0.0, std=1.0: mean + std * _normal(u),
    "rand": lambda u: u,
    "randn": _normal,
    "uniform": lambda u, low=0.0, high=1.0: low + (high - low) * u,
}


class Drawing(TorchDispatchMode):
    """Has torch's random operations read uniform numbers, in the order in which they are called.

    Dropout of every kind, noise and attention's dropout all come down to a few operations.

    Raises:
        BadArgument: an operation that has no formula here.
    """

    def __init__(self, take: Take) -> None:
        super().__init__()
        self.take = take

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        if torch.Tag.nondeterministic_seeded not in func.tags or given.get("dropout_p", 1) == 0:
            return func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        plain, like = name.removesuffix("_").removesuffix("_like"), args[0]
        if name == "native_dropout":  # of a GPU
            kept = self._uniform(like.shape, like) < 1 - args[1]
            return like * kept / (1 - args[1]), kept
        if isinstance(like, Tensor) and plain in FORMULAS and kwargs.get("generator") is None:
            rest = args if name == plain and func._overloadname != "p" else args[1:]  # `bernoulli` of probabilities
            made = FORMULAS[plain](self._uniform(like.shape, like), *rest)
            return like.copy_(made) if name.endswith("_") else made.to(like.dtype)
        if isinstance(args[-1], list) and plain in FORMULAS and kwargs.get("generator") is None:
            made = FORMULAS[plain](self._uniform(args[-1]), *args[:-1])
            return made.to(kwargs.get("device") or "cpu", kwargs.get("dtype") or torch.get_default_dtype())
        allowed = "bernoulli (as dropout does), exponential, normal, rand, randn and uniform, without a generator"
        raise BadArgument("model.network", f"a network that draws with {func}", f"one that draws with {allowed}")

    def _uniform(self, shape: Sequence[int], like: Tensor | None = None) -> Tensor:
        uniform = self.take(math.prod(shape)).view(shape)
        return uniform if like is None else uniform.to(like.device)


class Outputs(nn.Module):
    """`network.outputs` as a module's forward, which is what `functional_call` calls."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, prepared: Tensor, *masks: Tensor) -> Tensor:
        return self.network.outputs(prepared, *masks)


class Effects(NamedTuple):
    """What a training update's forward pass does beside its outputs."""

    draws: int  # uniform numbers
    changes: tuple[str, ...]  # buffers
    outputs: Tensor


def effects(network: Network, example: Sequence[Tensor]) -> Effects:
    """Finds out on a copy, with prepared digits (n, ...) and, where the network has its own dropout, its mask.

    Raises:
        BadArgument: a network whose updates could not be resumed: it draws by an operation that is not known here,
            assigns a buffer in the place of changing it, or changes one that its checkpoint would not have.
    """
    drawn = []

    def take(n: int) -> Tensor:
        drawn.append(n)
        return torch.full((n,), 0.5)

    tried = copy.deepcopy(network)
    before = {name: (buffer, buffer.clone(), buffer._version) for name, buffer in tried.named_buffers()}
    with torch.no_grad(), Drawing(take):
        outputs = tried.outputs(*example)
    after = dict(tried.named_buffers())
    changes = []
    for name, (buffer, value, version) in before.items():
        if after.get(name) is not buffer:
            what = f"{_name(network)}, which assigns its buffer {_own(name)} anew"
            raise BadArgument("model.network", what, "one that changes it in place")
        if buffer._version > version or not buffer.equal(value):  # batch normalization's own code tells no version
            changes.append(name)
    saved = {id(tensor) for tensor in tried.state_dict(keep_vars=True).values()}
    if missing := [name for name in changes if id(after[name]) not in saved]:
        what = f"{_name(network)}, which changes its buffer {_own(missing[0])}"
        raise BadArgument("model.network", what, "one whose buffers that change are persistent, for its checkpoints")
    return Effects(sum(drawn), tuple(changes), outputs)


def check_network(network: Network, batch: int, left: int) -> None:
    """Refuses a network that could not be trained with so many digits per update.

    Args:
        network: The network, in training.
        batch: Digits per update.
        left: Digits of a pass's last update, where it has fewer; else 0.

    Raises:
        BadArgument: batch normalization with one digit, a forward pass that fails, or outputs of another shape.
    """
    if 1 in (batch, left) and any(isinstance(module, _BatchNorm) for module in network.modules()):
        given = f"{batch} with batch normalization" + (", and a pass's last update of one digit" if batch > 1 else "")
        raise BadArgument("data.batch_size", given, "numbers that leave no update with one digit alone")
    n = min(batch, 2)
    keep = [torch.ones(n, network.dropout_units)] if network.dropout else []
    like, allowed = next(network.parameters()), "a network from digits (n, 1, 16, 16) to outputs (n, 10)"
    try:
        prepared = network.prepare(torch.zeros(1, n, 1, 16, 16).to(like))[0]
        shape = tuple(effects(network, (prepared, *keep)).outputs.shape)
    except BadArgument:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {one_line(str(error))[:160]}"
        raise BadArgument("model.network", _name(network), f"{allowed}, with n = {n} in training ({why})") from None
    if shape != (n, 10):
        raise BadArgument("model.network", f"{_name(network)}, which makes {shape} of {n} digits", allowed)


def _own(buffer: str) -> str:
    return buffer.removeprefix("module.")  # of a plain module


def _name(network: Network) -> str:
    return type(network.own).__name__
