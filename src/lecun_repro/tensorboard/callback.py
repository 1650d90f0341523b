"""Pictures of what a network has learnt, drawn into TensorBoard while it learns."""

from typing import Any

import torch
from jsonargparse.typing import NonNegativeInt
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from lecun_repro.data.augment import Augmentations
from lecun_repro.data.splits import Split
from lecun_repro.errors import one_line
from lecun_repro.models.base import Network
from lecun_repro.tensorboard import figures
from lecun_repro.tensorboard.writer import evaluating, show_figure, show_graph, writer_of
from lecun_repro.training.module import DigitClassifier

SHOWN = 60  # missed digits in their grid
PRESENTED = 6  # passes whose augmented digits are shown
MOST = 1e20  # where the bins of TensorBoard's histograms end


class Pictures(Callback):
    """Draws the network's graph, kernels, activations and weights, its confusions and the digits that it misses.

    Where digits are augmented, it also draws some of the presentations that the fit starts with.

    A network says itself what there is to draw: see `Network.layers` and `Network.kernels`.

    Args:
        every: Draw after every so many passes, beside the first and the last; null draws those two alone, 0 nothing.
    """

    def __init__(self, every: NonNegativeInt | None = None) -> None:  # type: ignore[valid-type]
        self.every = every
        self.start: dict[str, Tensor] = {}  # kernels before the first update
        self.evaluated = 0  # the last pass that was
        self.drawn = 0

    def setup(self, trainer: Trainer, pl_module: DigitClassifier, stage: str) -> None:  # type: ignore[override]
        self.start = {name: weights.detach().cpu().clone() for name, weights in pl_module.network.kernels().items()}

    def on_fit_start(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        if (writer := self._writer(trainer)) is not None:
            try:
                show_graph(writer, pl_module.network)
            except Exception as error:  # of a network of one's own, which need not be traceable
                pl_module.print(f"no graph in TensorBoard: {one_line(str(error))[:200]}")

    def on_train_start(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        augmentations: Augmentations = trainer.datamodule.augmentations  # type: ignore[attr-defined]
        resumes = trainer.current_epoch > 0
        if augmentations.steps and not resumes and (writer := self._writer(trainer)) is not None:
            draw_presentations(writer, augmentations, trainer.datamodule.train)  # type: ignore[attr-defined]

    def on_validation_end(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.evaluated = trainer.current_epoch + 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        number = trainer.current_epoch + 1
        if self.evaluated == number and (number == 1 or (self.every and number % self.every == 0)):
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        if self.drawn < self.evaluated:
            self._draw(trainer, pl_module)

    # The start is that of the run which a resumed one goes on from.

    def on_save_checkpoint(self, trainer: Trainer, pl_module: DigitClassifier, checkpoint: dict[str, Any]) -> None:  # type: ignore[override]
        checkpoint.setdefault("lecun_repro", {})["kernels_at_start"] = self.start

    def on_load_checkpoint(self, trainer: Trainer, pl_module: DigitClassifier, checkpoint: dict[str, Any]) -> None:  # type: ignore[override]
        self.start |= checkpoint.get("lecun_repro", {}).get("kernels_at_start", {})

    def _writer(self, trainer: Trainer) -> SummaryWriter | None:
        return None if self.every == 0 else writer_of(trainer)

    def _draw(self, trainer: Trainer, module: DigitClassifier) -> None:
        self.drawn = self.evaluated
        if (writer := self._writer(trainer)) is None:
            return
        split: str = trainer.datamodule.evaluation_split  # type: ignore[attr-defined]
        digits: Split = trainer.datamodule.splits[split]  # type: ignore[attr-defined]
        with torch.no_grad(), evaluating(module):
            draw_weights(writer, module.network, self.start, self.drawn)
            draw_activations(writer, module, split, digits, self.drawn)
            draw_misses(writer, module, split, digits, self.drawn)


def draw_weights(writer: SummaryWriter, network: Network, start: dict[str, Tensor], number: int) -> None:
    """Histograms of a network's parameters after pass `number`, and its kernels beside those at the start."""
    for name, weights in network.named_parameters():
        drawable = weights[weights.abs() < MOST]  # a rate too high leaves others
        if len(drawable):
            writer.add_histogram(f"weights/{name}", drawable.cpu(), number)
    for name, kernels in network.kernels().items():
        title = f"The kernels of {name}, pass {number}"
        figure = figures.kernels_figure(start[name].numpy(), kernels.cpu().numpy(), title)
        show_figure(writer, f"kernels/{name}", figure, number)


def draw_activations(writer: SummaryWriter, module: DigitClassifier, split: str, digits: Split, number: int) -> None:
    """What the first digit of each class activates in the hidden layers after pass `number`."""
    hidden = list(module.network.layers().items())[:-1]
    first = first_of_each(digits)
    value = on_device(digits.images[first], module)
    for name, layer in hidden:
        value = layer(value)
        title = f"{name} of one digit of each class ({split}), pass {number}"
        figure = figures.activations_figure(digits.images[first, 0].numpy(), value.cpu().numpy(), title)
        show_figure(writer, f"activations/{name}", figure, number)


def draw_presentations(writer: SummaryWriter, augmentations: Augmentations, digits: Split) -> None:
    """The first training digit of each class, as it is and as it is presented in the first passes."""
    first = first_of_each(digits)
    passes = [augmentations.draw(len(digits.labels), number) for number in range(PRESENTED)]
    presented = torch.stack([augmentations.apply(digits.images[first], drawn, first)[:, 0] for drawn in passes])
    names = " + ".join(type(augmentation).__name__ for augmentation, *_ in augmentations.steps)
    title = f"One training digit of each class, and what {names} makes of it"
    figure = figures.augmentations_figure(digits.images[first, 0].numpy(), presented.numpy(), title)
    show_figure(writer, "augmentations/train", figure, 0)


def first_of_each(digits: Split) -> Tensor:
    """Indices of the first digit of each class that there is."""
    return torch.tensor([int((digits.labels == digit).nonzero()[0]) for digit in digits.labels.unique()])


def draw_misses(writer: SummaryWriter, module: DigitClassifier, split: str, digits: Split, number: int) -> None:
    """What is taken for what after pass `number`, and the missed digits themselves, the most confident first."""
    result = module.results[split]
    labels, missed = digits.labels[: result.n], torch.tensor(result.missed, dtype=torch.long)
    predicted = labels.clone()
    predicted[missed] = torch.tensor(result.predicted, dtype=torch.long)
    title = f"({split}), pass {number}: {result.misses:,} of {result.n:,} digits missed"
    confusion = torch.bincount(10 * labels + predicted, minlength=100).view(10, 10)
    figure = figures.confusion_figure(confusion.numpy(), f"Confusions {title}")
    show_figure(writer, f"confusion/{split}", figure, number)

    confidence = torch.empty(0)
    if result.misses:  # a network need not take no digits
        probabilities = module.head.probabilities(module.evaluated_network(on_device(digits.images[missed], module)))
        confidence = probabilities.cpu().gather(1, predicted[missed, None]).flatten()
    order = confidence.argsort(descending=True, stable=True)[:SHOWN]
    shown, confident = missed[order], confidence[order].tolist()
    each = zip(labels[shown].tolist(), predicted[shown].tolist(), confident, strict=True)
    captions = [f"{true}→{taken_for}  {share:.0%}" for true, taken_for, share in each]
    title += f"{f', the {SHOWN} most confident' if len(missed) > SHOWN else ''}. True → predicted, confidence"
    figure = figures.errors_figure(digits.images[shown, 0].numpy(), captions, f"Errors {title}")
    show_figure(writer, f"errors/{split}", figure, number)


def on_device(images: Tensor, module: DigitClassifier) -> Tensor:
    """Digits as the module's network takes them, (n, 1, 16, 16)."""
    return images.to(next(module.network.parameters()))
