"""Makes a traced update fast: tells inductor what to compute once and keep.

Inductor fuses as much as it can and recomputes what it fused, which is right for large tensors and wrong for an update
whose tensors fit the first-level cache: a gather inside a matrix product is then repeated for every output, a bias
correction for every weight. Each rule below was worth measuring (one thread, one AVX-512 core, row 1's update): without
them an update takes four times as long.
"""

import operator
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten

# Matrix products of up to so many multiply-accumulates are loops of their own; above it, calls of the BLAS library.
# A library call costs more than a microsecond whatever its size; H2's product for one digit has 57,600.
SMALL_PRODUCT = 2**16
# A sum with one accumulator waits for each addition. So the few long ones of a layer are made of sums of so many.
FEW_OUTPUTS, PARTIAL_SUM = 512, 16
# Of shorter sums, dot products spend their time in adding up a vector's lanes: lanes are then outputs instead.
SHORT_SUM = 32
IN_CACHE = 2**13  # numbers; what gathers more of them only to add them up is not kept but fused with the sum
VIEWS = {
    operator.getitem,
    aten.detach.default,
    aten.expand.default,
    aten.permute.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.split_with_sizes.default,
    aten.squeeze.dim,
    aten.t.default,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
    aten._unsafe_view.default,
}


def materialise(graph: fx.GraphModule) -> fx.GraphModule:
    """Rewrites the graph in place, leaving its values as they are, and returns it.

    - small matrix products become broadcast products and sums, which fuse into loops without a call;
    - divisions by a scalar become products with its inverse;
    - their operands, gathered rows, scalars and gradients are computed once and kept.
    """
    kept: set[fx.Node] = set()
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or not hasattr(node.meta.get("tensor_meta"), "shape"):
            continue
        shape = _shape(node)
        if node.target is aten.embedding.default or (not shape and node.target not in VIEWS):
            if node.target is aten.embedding.default and node.args[0].target is aten.constant_pad_nd.default:
                _keep(graph.graph, node.args[0].args[0], kept)  # a transposition within a gather is a scalar loop
            if shape.numel() <= IN_CACHE or [user.target for user in node.users] != [aten.sum.dim_IntList]:
                _keep(graph.graph, node, kept)
        elif node.target is aten.cat.default and len(shape) == 1:  # the flat vector of gradients
            for part in node.args[0]:
                _keep(graph.graph, part, kept)
        elif node.target is aten.mm.default and shape.numel() * _shape(node.args[0])[1] <= SMALL_PRODUCT:
            for operand in node.args:
                _keep(graph.graph, operand, kept)
            _replace_product(graph.graph, node)
        elif node.target is aten.div.Tensor and all(map(_is_float, node.args)) and shape and not _shape(node.args[1]):
            _multiply_instead(graph.graph, node, kept)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _shape(node: fx.Node) -> torch.Size:
    if node.op == "get_attr":  # a constant
        return getattr(node.graph.owning_module, str(node.target)).shape
    return node.meta["tensor_meta"].shape


def _is_float(operand: Any) -> bool:
    return isinstance(operand, fx.Node) and operand.meta["tensor_meta"].dtype.is_floating_point


def _keep(graph: fx.Graph, node: fx.Node, kept: set[fx.Node]) -> None:
    """Has the tensor behind `node` computed once: `as_strided` needs its operand in memory."""
    while node.op == "call_function" and node.target in VIEWS:
        (node,) = node.all_input_nodes
    meta: Any = node.meta.get("tensor_meta")
    if node.op != "call_function" or node in kept or not hasattr(meta, "shape"):  # an input, done, or several outputs
        return
    with graph.inserting_after(node):
        copy = graph.call_function(aten.as_strided.default, (node, list(meta.shape), list(meta.stride)))
    copy.meta = dict(node.meta)
    node.replace_all_uses_with(copy)
    copy.args = (node, *copy.args[1:])
    kept.update((node, copy))


def _multiply_instead(graph: fx.Graph, node: fx.Node, kept: set[fx.Node]) -> None:
    """Of a division by a scalar."""
    tensor, scalar = node.all_input_nodes
    with graph.inserting_before(node):
        inverse = graph.call_function(aten.reciprocal.default, (scalar,))
        inverse.meta = dict(scalar.meta)
        product = graph.call_function(aten.mul.Tensor, (tensor, inverse))
    product.meta = dict(node.meta)
    node.replace_all_uses_with(product)
    graph.erase_node(node)
    _keep(graph, inverse, kept)


def _replace_product(graph: fx.Graph, node: fx.Node) -> None:
    operands: Any = node.args  # one tensor may be both
    left, right = operands
    (rows, columns), length = _shape(node), _shape(left)[1]
    dots = right.op != "get_attr" and right.meta["tensor_meta"].stride[0] == 1 != columns  # both are read along the sum
    with graph.inserting_before(node):
        if dots and length <= SHORT_SUM and rows * columns > FEW_OUTPUTS:
            right = graph.call_function(aten.clone.default, (right,), {"memory_format": torch.contiguous_format})
            right = graph.call_function(aten.as_strided.default, (right, [length, columns], [columns, 1]))
        left = graph.call_function(aten.unsqueeze.default, (left, 2))
        right = graph.call_function(aten.unsqueeze.default, (right, 0))
        product = graph.call_function(aten.mul.Tensor, (left, right))
        if rows * columns <= FEW_OUTPUTS and not length % PARTIAL_SUM:
            shape = [rows, length // PARTIAL_SUM, PARTIAL_SUM, columns]
            product = graph.call_function(aten.view.default, (product, shape))
            product = graph.call_function(aten.sum.dim_IntList, (product, [2]))
        total = graph.call_function(aten.sum.dim_IntList, (product, [1]))
    total.meta = dict(node.meta)
    node.replace_all_uses_with(total)
    graph.erase_node(node)
