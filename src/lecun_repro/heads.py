"""Heads: what turns the network's ten outputs into a loss and a prediction."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Head(nn.Module):
    """The last squashing, the targets and the loss. Subclass it to train another one from YAML."""

    def activation(self, outputs: Tensor) -> Tensor:
        """Outputs of the network (n, 10) -> outputs of the head (n, 10); the largest is the prediction."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Outputs of the network (n, 10) and labels (n,) -> the mean loss, a scalar."""
        raise NotImplementedError

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Outputs of the network (n, 10) -> what stands for the confidence in each digit, (n, 10), rows sum to 1."""
        raise NotImplementedError


class TanhMSE(Head):
    """tanh outputs and the mean squared error over patterns and outputs, on targets of +1 and -1 (article)."""

    def activation(self, outputs: Tensor) -> Tensor:
        return torch.tanh(outputs)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        digits = torch.arange(outputs.shape[1], device=outputs.device)
        targets = (labels[:, None] == digits).to(outputs.dtype) * 2 - 1
        return F.mse_loss(self.activation(outputs), targets)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Outputs moved from [-1, 1] to [0, 1] and normalised: a ranking, not a calibrated probability (our guess)."""
        shares = ((self.activation(outputs) + 1) / 2).clamp_min(torch.finfo(outputs.dtype).tiny)  # ten zeros are equal
        return shares / shares.sum(1, keepdim=True)


class CrossEntropy(Head):
    """Logits and the mean cross-entropy (article, from its second row on)."""

    def activation(self, outputs: Tensor) -> Tensor:
        return outputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels)

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(1)
