"""The 1989 network against the paper's counts, the article's values and plain formulas written again here."""

import copy
import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lecun_repro.models.base import ACTIVATIONS, Network, scaled_tanh
from lecun_repro.models.convnet import ConvNet1989, connection_table
from lecun_repro.models.fully_connected import FullyConnected1989
from lecun_repro.models.heads import CrossEntropy, Head, TanhMSE
from lecun_repro.models.patches import CONVOLVE_FROM, DIGITS_INNERMOST, Gather, patch_index
from lecun_repro.models.vit import MicroViT
from lecun_repro.models.wide import WideConvNet
from lecun_repro.training.forward import Outputs

FEW = 3  # digits: an update computes them from patches, row by row
MANY = 33  # digits: from patches with the digits innermost


def plain_outputs(
    weights: dict[str, Tensor],
    images: Tensor,
    activation: Callable[[Tensor], Tensor] = torch.tanh,
    keep: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """The network as the article's code writes it: H2 is three convolutions over slices of H1's maps."""
    x = F.conv2d(F.pad(images, (2, 2, 2, 2), value=-1.0), weights["H1w"], stride=2) + weights["H1b"]
    x = F.pad(activation(x), (2, 2, 2, 2), value=-1.0)
    slices = [x[:, 0:8], x[:, 4:12], torch.cat([x[:, 0:4], x[:, 8:12]], 1)]
    kernels = weights["H2w"].split(4)
    x = torch.cat([F.conv2d(maps, kernel, stride=2) for maps, kernel in zip(slices, kernels, strict=True)], 1)
    x = activation(x + weights["H2b"]).flatten(1)
    if keep is not None:
        x = x * keep / (1 - dropout)
    x = activation(x @ weights["H3w"] + weights["H3b"])
    return x @ weights["outw"] + weights["outb"]


def network(**arguments) -> ConvNet1989:
    """In float64, and with biases that tell one unit from another."""
    net = ConvNet1989(**{"seed": 1337} | arguments).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for bias in (net.H1b, net.H2b, net.H3b, net.outb):
            bias.copy_(torch.rand(bias.shape, generator=generator, dtype=torch.float64) - 0.5)
    return net


def digits(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((n, 1, 16, 16), generator=generator, dtype=torch.float64) * 2 - 1


# Counts


def test_has_the_papers_counts() -> None:
    sizes = {size.layer: size[2:] for size in ConvNet1989().sizes()}
    assert sizes == {
        "H1": (1_068, 19_200, 768),
        "H2": (2_592, 38_400, 192),
        "H3": (5_790, 5_760, 30),
        "output": (310, 300, 10),
    }
    assert [sum(column) for column in zip(*sizes.values(), strict=True)] == [9_760, 63_660, 1_000]
    assert sum(p.numel() for p in ConvNet1989().parameters()) == 9_760


def test_has_no_more_in_its_state_than_the_weights() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in ConvNet1989().state_dict().items()}
    assert shapes == {
        "H1w": (12, 1, 5, 5),
        "H1b": (12, 8, 8),
        "H2w": (12, 8, 5, 5),
        "H2b": (12, 4, 4),
        "H3w": (192, 30),
        "H3b": (30,),
        "outw": (30, 10),
        "outb": (10,),
    }


# Initial values


def test_the_last_bit_alone_is_moved() -> None:
    ours, moved, anew = (dict(ConvNet1989(seed=1337, last_bit=bit).named_parameters()) for bit in (False, True, True))
    for name, weights in ours.items():
        if name.endswith("w"):
            steps = moved[name].data.view(torch.int32) - weights.data.view(torch.int32)
            assert set(steps.unique().tolist()) == {-1, 1} and not moved[name].equal(anew[name])
        else:
            assert moved[name].equal(weights)


def test_seed_1337_gives_the_articles_weights() -> None:
    net = ConvNet1989(seed=1337)
    first = {
        "H1w": [-0.404816, -0.004208, 0.118174],
        "H2w": [-0.043969, 0.072456, -0.021659],
        "H3w": [-0.169050, 0.139196, 0.033194],
        "outw": [0.272422, -0.029076, 0.308530],
    }
    for name, values in first.items():
        torch.testing.assert_close(net.get_parameter(name).flatten()[:3], torch.tensor(values), rtol=0, atol=5e-7)


@pytest.mark.parametrize("seed", [0, 1337])
def test_draws_as_the_articles_code_from_the_global_generator(seed: int) -> None:
    net = ConvNet1989(seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for weight, fan_in in ((net.H1w, 25), (net.H2w, 200), (net.H3w, 192), (net.outw, 30)):
            assert torch.equal(weight, (torch.rand(weight.shape) - 0.5) * 2 * 2.4 / fan_in**0.5)


@pytest.mark.parametrize("make", [ConvNet1989, FullyConnected1989, MicroViT, WideConvNet])
def test_without_a_seed_draws_from_the_global_generator(make: Callable[..., Network]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        drawn = make()
        after = torch.random.get_rng_state()
        seeded = make(seed=5)
        assert torch.equal(torch.random.get_rng_state(), after)  # which a seed leaves alone
    assert all(torch.equal(a, b) for a, b in zip(drawn.parameters(), seeded.parameters(), strict=True))


def test_biases_start_at_zero_but_for_the_outputs() -> None:
    net = ConvNet1989()
    assert not any(bias.any() for bias in (net.H1b, net.H2b, net.H3b))
    assert (net.outb == -1).all()
    assert (ConvNet1989(output_bias=0.0).outb == 0).all()


def test_the_papers_range_has_no_root() -> None:
    article, paper = ConvNet1989(seed=3), ConvNet1989(seed=3, init="paper")
    for name, fan_in in (("H1w", 25), ("H2w", 200), ("H3w", 192), ("outw", 30)):
        expected = article.get_parameter(name) / fan_in**0.5
        torch.testing.assert_close(paper.get_parameter(name), expected)
        assert paper.get_parameter(name).abs().max() <= 2.4 / fan_in


def test_the_scaled_tanh_is_one_at_one_and_most_curved_there() -> None:
    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    assert scaled_tanh(x).item() == pytest.approx(1, abs=1e-5)
    derivatives = [scaled_tanh(x)]
    for _ in range(3):
        derivatives += torch.autograd.grad(derivatives[-1], x, create_graph=True)
    assert derivatives[3].item() == pytest.approx(0, abs=0.02)  # the second derivative is at its extreme


# Values


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n, fast", [(FEW, False), (1, True), (FEW, True), (DIGITS_INNERMOST, True), (MANY, True)])
def test_equals_the_articles_formula(n: int, fast: bool, activation: str) -> None:
    net, images = network(activation=activation), digits(n)
    weights = dict(net.named_parameters())
    ours = net.outputs(net.prepare(images[None])[0]) if fast else net(images)
    plain = plain_outputs(weights, images, ACTIVATIONS[activation])
    torch.testing.assert_close(ours, plain, rtol=1e-11, atol=1e-12)

    towards = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(ours, weights.values(), towards)
    expected = torch.autograd.grad(plain, weights.values(), towards)
    for name, gradient, other in zip(weights, gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-10, atol=1e-11, msg=lambda m, name=name: f"{name}: {m}")


def test_prepare_switches_to_whole_digits_where_convolution_is_faster() -> None:
    net = network()
    assert net.prepare(digits(2 * FEW).view(2, FEW, 1, 16, 16)).shape == (2, FEW, 64, 25)
    assert net.prepare(digits(2 * MANY).view(2, MANY, 1, 16, 16)).shape == (2, 25, 64, MANY)
    many = digits(CONVOLVE_FROM).view(1, CONVOLVE_FROM, 1, 16, 16)
    assert net.prepare(many) is many


def test_digits_and_their_patches_give_the_same() -> None:
    net, images = network(), digits(FEW)
    torch.testing.assert_close(net.outputs(images), net.outputs(net.prepare(images[None])[0]), rtol=1e-11, atol=1e-12)


def test_one_digit_does_not_depend_on_those_beside_it() -> None:
    net, images = network(), digits(MANY)
    torch.testing.assert_close(net(images)[5:6], net(images[5:6]), rtol=1e-11, atol=1e-12)


def test_outside_the_field_is_background() -> None:
    # All kernels 1: in a digit of background every patch of H1, border or not, sums to -25.
    net = network()
    patches = net.prepare(torch.full((1, 1, 1, 16, 16), -1.0))
    assert (patches == -1).all()
    # Of the corner's 25 pixels 16 lie outside, two rows and two columns.
    corner = net.prepare(torch.ones(1, 1, 1, 16, 16))[0, 0, 0].view(5, 5)
    assert (corner[:2] == -1).all()
    assert (corner[:, :2] == -1).all()
    assert (corner[2:, 2:] == 1).all()


def test_padding_stays_background_with_relu() -> None:
    net = network(activation="relu")
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
        net.H2w.fill_(1)
        net.H3w[::16] = 1  # the corner unit of every map of H2
        net.H3b.fill_(1000)
        net.outw.fill_(1)
        net.H2b.fill_(200)
    # H1 is 0 everywhere; the corner of H2 sees 16 of 25 places outside in 8 maps: 200 - 128 = 72.
    expected = torch.full((1, 10), 30 * (1000 + 12 * 72.0), dtype=torch.float64)
    torch.testing.assert_close(net(digits(1)), expected)
    torch.testing.assert_close(net(digits(MANY))[:1], expected)


@pytest.mark.parametrize("n", [FEW, MANY])
def test_every_unit_has_a_bias_of_its_own(n: int) -> None:
    net, images = network(), digits(n)
    for bias, units in ((net.H1b, 768), (net.H2b, 192)):
        (gradient,) = torch.autograd.grad(net(images).sum(), bias)
        assert gradient.numel() == units == gradient.unique().numel()


@pytest.mark.parametrize("n", [FEW, MANY])
def test_keep_drops_units_of_h2_and_scales_the_others(n: int) -> None:
    net, images = network(dropout=0.25), digits(n)
    keep = torch.rand((n, 192), generator=torch.Generator().manual_seed(2)) >= 0.25
    expected = plain_outputs(dict(net.named_parameters()), images, keep=keep, dropout=0.25)
    # 1e-6: the scale 1 / 0.75 is computed in float32.
    torch.testing.assert_close(net.outputs(net.prepare(images[None])[0], keep), expected, rtol=1e-6, atol=1e-6)
    assert not torch.equal(expected, net(images))
    assert net.dropout_units == 192


def test_drops_nothing_by_itself_even_in_training_mode() -> None:
    net, images = network(dropout=0.5).train(), digits(FEW)
    torch.testing.assert_close(net(images), plain_outputs(dict(net.named_parameters()), images))


# Gradients against finite differences


@pytest.mark.parametrize("n, fast", [(FEW, False), (FEW, True), (MANY, True)])  # as whole digits, and as patches
@pytest.mark.parametrize("head", [TanhMSE(), TanhMSE("scaled_tanh", 1.0), CrossEntropy()], ids=["mse", "scaled", "ce"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_of_the_loss_equals_finite_differences(activation: str, head: Head, n: int, fast: bool) -> None:
    net = network(activation=activation)
    prepared, labels = net.prepare(digits(n)[None])[0] if fast else digits(n), torch.arange(n) % 10
    names = [name for name, _ in net.named_parameters()]

    def loss(*weights: Tensor) -> Tensor:
        given = {f"network.{name}": weight for name, weight in zip(names, weights, strict=True)}
        return head.loss(torch.func.functional_call(Outputs(net), given, (prepared,)), labels)

    weights = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(loss, weights, fast_mode=True)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(lambda index: min(index) < 6))
@settings(max_examples=20)
def test_gather_has_right_gradients_of_both_orders(index: list[int]) -> None:
    gather = Gather(torch.tensor(index), rows=6, fill=-1.0)
    rows = digits(1).flatten()[:18].view(6, 3).requires_grad_()
    padded = torch.cat([rows.detach(), torch.full((1, 3), -1.0, dtype=torch.float64)])
    assert torch.equal(gather(rows), padded[index])
    assert torch.autograd.gradcheck(gather, rows)
    # Through a square, as a gather alone has no second derivative.
    assert torch.autograd.gradgradcheck(lambda x: gather(x).square(), rows)


def test_patches_of_a_map_are_those_of_unfold() -> None:
    image = torch.arange(64.0).view(1, 1, 8, 8)
    patches = F.unfold(F.pad(image, (2, 2, 2, 2), value=64.0), 5, stride=2)[0].t()
    assert patch_index(8).view(16, 25).tolist() == patches.long().tolist()


# Connection tables


@st.composite
def tables(draw: st.DrawFn) -> list[list[int]]:
    reads = draw(st.integers(1, 12))
    return [draw(st.permutations(range(12)))[:reads] for _ in range(12)]


@given(tables(), st.sampled_from([1, FEW, MANY]))
@settings(max_examples=20)
def test_any_table_equals_a_loop_over_its_connections(table: list[list[int]], n: int) -> None:
    net = network(table=table)
    assert_equals_a_loop_over_the_rows(net, digits(n))
    assert net.sizes()[1].parameters == 12 * len(table[0]) * 25 + 192


def assert_equals_a_loop_over_the_rows(net: ConvNet1989, images: Tensor) -> None:
    x = F.conv2d(F.pad(images, (2, 2, 2, 2), value=-1.0), net.H1w, stride=2) + net.H1b
    x = F.pad(torch.tanh(x), (2, 2, 2, 2), value=-1.0)
    maps = [F.conv2d(x[:, row], net.H2w[out : out + 1], stride=2) for out, row in enumerate(net.table)]
    x = torch.tanh(torch.cat(maps, 1) + net.H2b).flatten(1)
    x = torch.tanh(x @ net.H3w + net.H3b) @ net.outw + net.outb
    torch.testing.assert_close(net(images), x, rtol=1e-10, atol=1e-12)


ROWS = [list(range(8))] * 12
REFUSED = {
    "table: .*; allowed: 12 rows of one length": [
        {"table": table} for table in ([], ROWS[:11], [[]] * 12, [*ROWS[:11], [0, 1]])
    ],
    "table: row 11 is .* allowed: different numbers from 0 to 11": [
        {"table": [*ROWS[:11], [0, 1, 2, 3, 4, 5, 6, last]]} for last in (6, 12, -1)
    ],
    "table: .*; allowed: article, cyclic, full, random:SEED": [
        {"table": name} for name in ("", "circular", "random", "random:", "random:x", "random:-1", "random:4294967296")
    ],
    "maps: .*; allowed: a multiple of 3": [{"maps": maps} for maps in (1, 2, 13)],  # which have no thirds
    "activation: sigmoid; allowed: tanh, relu, gelu, silu": [{"activation": "sigmoid"}],
    "init: xavier; allowed: article, paper": [{"init": "xavier"}],
    "dropout: .*; allowed: a number from 0 to below 1": [{"dropout": share} for share in (-0.1, 1.0, 1.5, math.nan)],
}


@pytest.mark.parametrize("fault, arguments", [(fault, given) for fault, each in REFUSED.items() for given in each])
def test_refuses_what_is_none(fault: str, arguments: dict) -> None:
    with pytest.raises(ValueError, match=fault):
        ConvNet1989(**arguments)


# Copies


def test_copies_and_restored_weights_compute_the_same() -> None:
    # H1's and H2's biases lie map-last in memory; copies may not, and nothing may depend on it.
    net, images = network(), digits(FEW)
    restored = ConvNet1989(seed=1).double()
    restored.load_state_dict(
        {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in net.state_dict().items()}
    )
    relaid = copy.deepcopy(net)
    relaid.H1b = torch.nn.Parameter(relaid.H1b.detach().contiguous())
    for other in (copy.deepcopy(net), restored, relaid):
        assert torch.equal(other(images), net(images))
        assert all(torch.equal(a, b) for a, b in zip(other.parameters(), net.parameters(), strict=True))


def test_a_network_of_ones_own_only_has_to_say_its_outputs() -> None:
    class Linear(Network):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(256, 10)

        def outputs(self, prepared: Tensor, keep: Tensor | None = None) -> Tensor:
            return self.layer(prepared.flatten(1))

    net, images = Linear(), digits(2).float()
    torch.testing.assert_close(net(images), net.layer(images.flatten(1)))
    assert net.sizes() == []  # counting is for the networks of the paper; not counting must not stop a fit
    with pytest.raises(NotImplementedError):
        Network()(images)


# Tables by name


def test_named_tables() -> None:
    first, second, last = [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]
    assert connection_table("article") == [first + second] * 4 + [second + last] * 4 + [first + last] * 4
    assert connection_table("cyclic")[10] == [10, 11, 0, 1, 2, 3, 4, 5]
    assert connection_table("random:7") == connection_table("random:7") != connection_table("random:8")
    for name in ("article", "cyclic", "random:7"):
        net = ConvNet1989(table=name)
        assert sum(p.numel() for p in net.parameters()) == 9_760 and not net.note
        assert all(len(set(row)) == 8 for row in net.table)
    for name in ("article", "cyclic"):  # balanced: every map of H1 is read 8 times
        assert sorted(m for row in connection_table(name) for m in row) == sorted(8 * list(range(12)))


def test_a_full_table_breaks_the_count_and_says_so() -> None:
    net = ConvNet1989(table="full")
    assert sum(p.numel() for p in net.parameters()) == sum(size.parameters for size in net.sizes()) == 10_960
    assert net.note == "each map of H2 reads 12 of H1's 12: 10,960 parameters, the paper has 9,760"


# Other numbers of maps, and weight normalization


@pytest.mark.parametrize("maps", [3, 6, 24, 48])
@pytest.mark.parametrize("table", ["article", "cyclic", "random:7"])
def test_with_other_maps_two_thirds_are_read(maps: int, table: str) -> None:
    net = ConvNet1989(seed=1, maps=maps, table=table)
    assert [len(set(row)) for row in net.table] == [2 * maps // 3] * maps
    if table != "random:7":  # every map of H1 is read as often as any other
        assert sorted(m for row in net.table for m in row) == sorted(2 * maps // 3 * list(range(maps)))
    positions = {"H1": 64, "H2": 16, "H3": 1, "output": 1}
    weights = {"H1": 25 * maps, "H2": 25 * maps * 2 * maps // 3, "H3": maps * 16 * 30, "output": 300}
    assert {size.layer: size.macs for size in net.sizes()} == {k: weights[k] * positions[k] for k in weights}
    assert sum(size.parameters for size in net.sizes()) == sum(p.numel() for p in net.parameters())
    assert f"{2 * maps // 3} of H1's {maps}" in net.note


def test_with_12_maps_nothing_changes() -> None:
    ours, others = ConvNet1989(seed=3, maps=12, weight_norm=False), ConvNet1989(seed=3)
    assert ours.sizes() == others.sizes() and not ours.note
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), others.parameters(), strict=True))


@pytest.mark.parametrize("n", [FEW, MANY])
def test_with_6_maps_equals_a_loop_over_the_connections(n: int) -> None:
    assert_equals_a_loop_over_the_rows(network(maps=6), digits(n))


def test_h3_may_have_other_units() -> None:
    net, more = network(units=10), network(units=30)
    assert {size.layer: size.parameters for size in net.sizes()}["H3"] == 192 * 10 + 10
    assert net(digits(MANY)).shape == (MANY, 10) and sum(size.macs for size in net.sizes()) == 63_660 - 20 * 202
    assert not more.note and f"{sum(p.numel() for p in net.parameters()):,} parameters" in net.note
    prepared = net.prepare(digits(FEW)[None])[0]
    torch.testing.assert_close(net.outputs(prepared), net(digits(FEW)))


@pytest.mark.parametrize("n", [FEW, MANY])
def test_weight_normalization_starts_at_the_same_function(n: int) -> None:
    plain, normed = network(), network(weight_norm=True)
    torch.testing.assert_close(normed(digits(n)), plain(digits(n)), rtol=1e-6, atol=1e-6)  # split in float32
    assert sum(p.numel() for p in normed.parameters()) == 9_760 + 12 + 12 + 30 + 10
    assert sum(size.parameters for size in normed.sizes()) == 9_824
    assert [size.macs for size in normed.sizes()] == [size.macs for size in plain.sizes()]


def test_weight_normalization_has_a_length_for_every_unit() -> None:
    net = network(weight_norm=True)
    with torch.no_grad():
        for name, dims in (("H1w", (1, 2, 3)), ("H2w", (1, 2, 3)), ("H3w", (0,)), ("outw", (0,))):
            length = net.get_parameter(f"parametrizations.{name}.original0")
            torch.testing.assert_close(getattr(net, name).square().sum(dims).sqrt(), length.flatten())
            direction = net.get_parameter(f"parametrizations.{name}.original1")
            direction.mul_(3)  # its own length does not matter
            torch.testing.assert_close(getattr(net, name).square().sum(dims).sqrt(), length.flatten())


def test_weight_normalized_copies_and_restored_weights_compute_the_same() -> None:
    net, images = network(weight_norm=True), digits(FEW)
    other = ConvNet1989(weight_norm=True, seed=2).double()
    other.load_state_dict(net.state_dict())
    for same in (copy.deepcopy(net), other):
        assert torch.equal(same(images), net(images))


# The fully connected network


def test_the_fully_connected_net_has_the_papers_count() -> None:
    net = FullyConnected1989()
    assert [size[1:] for size in net.sizes()] == [("40", 10_280, 10_240, 40), ("10", 410, 400, 10)]
    assert sum(p.numel() for p in net.parameters()) == 10_690


def test_the_fully_connected_net_is_two_products() -> None:
    net, images = FullyConnected1989("scaled_tanh", output_bias=-1.0, seed=1).double(), digits(3)
    hidden = 1.7159 * torch.tanh(2 / 3 * (images.view(3, 256) @ net.hiddenw + net.hiddenb))
    torch.testing.assert_close(net(images), hidden @ net.outw - 1)
    assert net.hiddenw.abs().max() <= 2.4 / 16
    with pytest.raises(ValueError, match="activation: rleu"):
        FullyConnected1989("rleu")  # type: ignore[arg-type]


def test_the_names_of_activations_stand_once() -> None:
    sources = Path(inspect.getfile(ConvNet1989)).parents[1].rglob("*.py")
    assert [file.name for file in sources if "silu" in re.findall(r"[`\"](\w+)[`\"]", file.read_text())] == ["base.py"]
