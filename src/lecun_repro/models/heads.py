"""Heads: what turns the network's ten outputs into a loss and a prediction."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lecun_repro.errors import BadArgument
from lecun_repro.models.base import ACTIVATIONS, SCALED_TANH_LIMIT


class Head(nn.Module):
    """The last squashing, the targets and the loss. Subclass it to train another one from YAML."""

    def activation(self, outputs: Tensor) -> Tensor:
        """Outputs of the network (n, 10) -> outputs of the head (n, 10); the largest is the prediction."""
        raise NotImplementedError

    def criterion(self, activations: Tensor, labels: Tensor) -> Tensor:
        """Outputs of the head (n, 10) and labels (n,) -> the mean loss, a scalar."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Outputs of the network (n, 10) and labels (n,) -> the mean loss, a scalar."""
        return self.criterion(self.activation(outputs), labels)

    def training_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """What the updates descend where it is another than the loss that is reported; of the same shapes."""
        return self.loss(outputs, labels)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Outputs of the network (n, 10) -> what stands for the confidence in each digit, (n, 10), rows sum to 1."""
        raise NotImplementedError


class TanhMSE(Head):
    """Sigmoid outputs and the mean squared error over patterns and outputs; by default the article's.

    The paper's targets lie "within the quasilinear range of the sigmoid", at a level it does not print, and whether
    its MSE is a mean over the ten outputs, a sum, or half of one, it does not say either. The article takes the mean
    over patterns and outputs on targets of 1 and -1, and so do we. The error of another level grows with its square:
    losses are comparable where the target is the same.

    Args:
        activation: Output activation: `tanh` (article) or `scaled_tanh`, 1.7159 tanh(2x/3) (paper; the constants are
            an inference).
        target: Targets are +target for the digit's own output and -target for the others; below the activation's limit,
            or at it (1 for tanh: article). At 1 the scaled tanh is at the end of its quasilinear range.

    Raises:
        BadArgument: an activation or a target outside the above.
    """

    def __init__(self, activation: Literal["tanh", "scaled_tanh"] = "tanh", target: float = 1.0) -> None:
        super().__init__()
        limits = {"tanh": 1.0, "scaled_tanh": SCALED_TANH_LIMIT}
        if activation not in limits:
            raise BadArgument("activation", activation, ", ".join(limits))
        self.limit = limits[activation]
        if not 0 < target <= self.limit:
            raise BadArgument("target", target, f"a number above 0, at most {self.limit} for {activation}")
        self.squash, self.target = ACTIVATIONS[activation], float(target)

    def activation(self, outputs: Tensor) -> Tensor:
        return self.squash(outputs)

    def criterion(self, activations: Tensor, labels: Tensor) -> Tensor:
        digits = torch.arange(activations.shape[1], device=activations.device)
        targets = (labels[:, None] == digits).to(activations.dtype) * (2 * self.target) - self.target
        return F.mse_loss(activations, targets)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Outputs moved to [0, 1] and normalised: a ranking, not a calibrated probability (our guess)."""
        shares = (self.activation(outputs) / self.limit + 1) / 2
        shares = shares.clamp_min(torch.finfo(outputs.dtype).tiny)  # ten zeros are equal
        return shares / shares.sum(1, keepdim=True)


class CrossEntropy(Head):
    """Logits and the mean cross-entropy (article, from its second row on).

    Args:
        smoothing: Share of each training target that is spread evenly over the ten digits (label smoothing), from 0 to
            below 1. The loss that is reported is that of the plain labels.

    Raises:
        BadArgument: a smoothing outside of that.
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise BadArgument("smoothing", smoothing, "a number from 0 to below 1")
        self.smoothing = smoothing

    def activation(self, outputs: Tensor) -> Tensor:
        return outputs

    def criterion(self, activations: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(activations, labels)

    def training_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.activation(outputs), labels, label_smoothing=self.smoothing)

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(1)


class Taught(CrossEntropy):
    """Learns from what trained networks say, in the place of labels (Hinton, Vinyals, Dean 2015).

    The target of each update is the teachers' mean log-probability of every digit, at a temperature. The loss that is
    reported is the cross-entropy with the labels. What the teachers say of all augmented copies (`data.copies`) is
    computed once, before the first pass, and kept in the folder `taught` among the logs.

    Args:
        teachers: Checkpoints of fits, patterns of them such as "lightning_logs/wide/version_*/checkpoints/last.ckpt",
            or a configuration, such as `configs/beyond/teacher.yaml`, for its runs by `reproduce`, which trains those
            that are missing first.
        seeds: How many of a configuration's runs, with seeds 1337, 1338 and so on.
        temperature: What the logarithms are divided by before they are turned into probabilities again, here and there.
            Above 1, the digits that teachers find similar count for more.
        checkpoints: The files that `teachers` comes to, which the command line fills in.

    Raises:
        BadArgument: a temperature of 0 or below, no teachers, or no seeds.
    """

    def __init__(
        self, teachers: list[str] | str, seeds: int = 1, temperature: float = 1.0, checkpoints: list[str] | None = None
    ) -> None:
        super().__init__()
        if not teachers:
            raise BadArgument("teachers", teachers, "checkpoints, patterns of them, or a configuration")
        if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
            raise BadArgument("seeds", seeds, "an integer from 1")
        if not 0 < temperature < float("inf"):
            raise BadArgument("temperature", temperature, "a number above 0")
        given = [teachers] if isinstance(teachers, str) else list(teachers)
        self.temperature, self.checkpoints = float(temperature), given if checkpoints is None else checkpoints

    def targets(self, said: Tensor) -> Tensor:
        """The teachers' mean log-probabilities (n, 10) -> the probabilities that are learnt, (n, 10)."""
        return (said / self.temperature).softmax(1)

    def training_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """`labels` are such probabilities, (n, 10). The squared temperature keeps the size of the gradients."""
        return F.cross_entropy(outputs / self.temperature, labels) * self.temperature**2
