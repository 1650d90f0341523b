"""torch's tracer, without what takes it most of its time."""

from collections.abc import Callable
from typing import Any

from torch import fx
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx


def traced(function: Callable, decompositions: dict[Any, Callable] | None = None) -> Callable[..., fx.GraphModule]:
    """`make_fx`, which notes the shape of every tensor: here with one fake mode, on its own with a new one for each.

    A new one keeps the stack that it was made in, and that takes longer than the operation.
    """

    def trace(*sample: Any) -> fx.GraphModule:
        with tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
            return make_fx(function, decompositions)(*sample)

    return trace
