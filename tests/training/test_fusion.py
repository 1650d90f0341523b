from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.models.heads import CrossEntropy
from lecun_repro.training.forward import Outputs
from lecun_repro.training.fusion import IN_CACHE, SHORT_SUM, SMALL_PRODUCT, materialise


def targets(graph: torch.fx.GraphModule) -> list:
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


def materialised(function: Callable, *inputs: Tensor, **tolerance: float) -> torch.fx.GraphModule:
    """The function's graph, which has its values."""
    graph = materialise(make_fx(function)(*inputs))
    torch.testing.assert_close(graph(*inputs), function(*inputs), **tolerance)
    return graph


@pytest.mark.parametrize("n", [1, 8, 32])
def test_a_networks_gradients_keep_their_values(n: int) -> None:
    network = ConvNet1989(activation="silu", seed=1).double()
    head, weights = CrossEntropy(), dict(network.named_parameters())
    outputs_of = Outputs(network)

    def flat_gradients(prepared: Tensor, labels: Tensor, *params: Tensor) -> tuple[Tensor, Tensor]:
        named = {f"network.{name}": p for name, p in zip(weights, params, strict=True)}
        outputs = functional_call(outputs_of, named, (prepared,))
        loss = head.loss(outputs, labels)
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, params)]), loss.detach()

    generator = torch.Generator().manual_seed(n)
    images = torch.rand((n, 1, 16, 16), generator=generator, dtype=torch.float64) * 2 - 1
    labels = torch.randint(10, (n,), generator=generator)
    prepared = network.prepare(images[None])[0]
    inputs = (prepared, labels, *weights.values())
    plain = make_fx(flat_gradients)(*inputs)
    fast = materialised(flat_gradients, *inputs, rtol=1e-11, atol=1e-13)
    fast.graph.lint()
    torch.testing.assert_close(fast(*inputs), plain(*inputs), rtol=1e-11, atol=1e-13)
    assert len(targets(fast)) > len(targets(plain))


def test_small_products_become_sums_and_large_ones_stay() -> None:
    side = round(SMALL_PRODUCT ** (1 / 3))
    for n, stays in ((side, False), (side + 1, True)):
        left, right = torch.rand(n, n + 1), torch.rand(n + 1, n)
        if n == side:
            left, right = left[:, :n], right[:n]
        assert (torch.ops.aten.mm.default in targets(materialised(torch.mm, left, right))) is stays


@pytest.mark.parametrize(("length", "turned"), [(SHORT_SUM, True), (SHORT_SUM + 1, False)])
def test_short_dot_products_read_their_columns_side_by_side(length: int, turned: bool) -> None:
    left, right = torch.rand(64, length), torch.rand(12, length)
    graph = materialised(lambda x, y: x @ y.t(), left, right)
    assert (torch.ops.aten.clone.default in targets(graph)) is turned


def test_values_seen_through_views_and_kept_scalars_stay() -> None:
    index = torch.tensor([2, 0, 0, 1])

    def function(table: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.nn.functional.embedding(index, table)
        product = rows.t().unsqueeze(0).squeeze(0) @ (x * x.mean()).view(4, 2)
        return torch.cat([product.flatten(), x.flatten().sin()]), x.sum() + product.sum()

    graph = materialised(function, torch.rand(3, 5), torch.rand(2, 4))
    for seed in range(3):  # other values than those it was traced with
        generator = torch.Generator().manual_seed(seed)
        table, x = torch.rand((3, 5), generator=generator), torch.rand((2, 4), generator=generator)
        torch.testing.assert_close(graph(table, x), function(table, x))


def test_products_with_constants_keep_their_values() -> None:
    left, right = torch.rand(3, 2), torch.rand(4, 3)  # as a network of one's own may have
    materialised(lambda x: left @ (x @ right), torch.rand(2, 4))


def test_divisions_by_a_scalar_become_products_and_long_sums_partial_ones() -> None:
    def function(x: Tensor, row: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x / x.sum(), torch.arange(3) / torch.tensor(2), row @ matrix

    torch.manual_seed(1)
    inputs = torch.rand(5, dtype=torch.float64), torch.rand((1, 192), dtype=torch.float64), torch.rand(192, 30).double()
    graph = materialised(function, *inputs, rtol=1e-12, atol=0)
    assert targets(graph).count(torch.ops.aten.div.Tensor) == 1  # that of integers
    assert targets(graph).count(torch.ops.aten.sum.dim_IntList) == 2


@pytest.mark.parametrize("rows, kept", [(4, True), (IN_CACHE, False)])
def test_many_gathered_rows_that_are_only_added_up_are_not_kept(rows: int, kept: bool) -> None:
    index = torch.arange(2 * rows).view(2, rows) % 3
    graph = materialised(lambda table: torch.nn.functional.embedding(index, table).sum(0), torch.rand(3, 5))
    assert (torch.ops.aten.as_strided.default in targets(graph)) is kept
