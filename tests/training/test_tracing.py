"""The tracer: the graph is torch's own, and its tensors' shapes are noted with one fake mode."""

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from lecun_repro.training.tracing import traced


def test_traces_as_torch_does_with_one_fake_mode() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return (x @ x.T).relu().sum()

    graph = traced(function)(torch.ones(2, 3))
    assert graph.code == make_fx(function)(torch.ones(2, 3)).code
    values = [node.meta["val"] for node in graph.graph.nodes if "val" in node.meta]
    assert [tuple(value.shape) for value in values] == [(2, 3), (3, 2), (2, 2), (2, 2), ()]
    assert len({id(value.fake_mode) for value in values}) == 1
