"""Any `nn.Module` from digits to ten outputs, as a network."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lecun_repro.models.base import Network


class _Plain(Network):
    """A module from digits (n, 1, 16, 16) in [-1, 1] to outputs before the head's squashing, (n, 10).

    What is saved of it has the module's own names, and so loads into the module itself.

    Args:
        module: The module. Its lazy layers find their sizes at once.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.register_load_state_dict_pre_hook(_renamed)
        if any(map(is_lazy, module.parameters())):
            with torch.no_grad():
                module.eval()(torch.zeros(1, 1, 16, 16))
            module.train()

    @property
    def own(self) -> nn.Module:
        return self.module

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.state_dict(*args, **kwargs)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Digits (n, 1, 16, 16) -> (n, 10). What is dropped in training the module draws itself."""
        return self.module(images)


def _renamed(module: nn.Module, state: dict[str, Tensor], prefix: str, *unused: Any) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        state[f"{prefix}module.{name.removeprefix(prefix)}"] = state.pop(name)


def as_network(module: nn.Module) -> Network:
    """The module itself where it is a `Network`."""
    return module if isinstance(module, Network) else _Plain(module)
