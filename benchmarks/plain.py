"""The other side: the plainest honest training loop, as a researcher writes it on the first day.

fp32, eager, PyTorch's default memory layout and settings; a ``DataLoader`` in the main process, torchvision's transforms on one
PIL image at a time (without torchvision, the same by Pillow and NumPy); SGD with Nesterov momentum; running loss and accuracy.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks import ours
from benchmarks.rounds import Sample

PLAIN = "plain"
MOST_BATCHES = 64  # of a sample
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # conf/dataset/cifar10.yaml
THREADS = torch.get_num_threads()  # before anything has changed it


def transforms() -> Callable[[Image.Image], Tensor]:
    """Random crop of the image padded by 4, random flip, to a tensor, normalised."""
    try:
        from torchvision import transforms as t
    except ImportError:
        return _by_pillow
    composed: Callable[[Image.Image], Tensor] = t.Compose(
        [t.RandomCrop(32, 4), t.RandomHorizontalFlip(), t.ToTensor(), t.Normalize(MEAN, STD)]
    )
    return composed


def _by_pillow(image: Image.Image) -> Tensor:
    left, top = random.randint(0, 8), random.randint(0, 8)
    image = ImageOps.expand(image, 4).crop((left, top, left + 32, top + 32))
    if random.random() < 0.5:
        image = ImageOps.mirror(image)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div_(255)
    return pixels.sub_(torch.tensor(MEAN).view(3, 1, 1)).div_(torch.tensor(STD).view(3, 1, 1))


class Pictures(Dataset[Any]):
    """One picture at a time, as torchvision's CIFAR10 gives it."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.permute(0, 2, 3, 1).numpy(), labels.tolist()
        self.transform = transforms()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class Plain:
    """A network in the plain loop; a sample is an epoch of ``train_images``, or ``MOST_BATCHES`` batches of it."""

    def __init__(self, settings: ours.Settings, model: str) -> None:
        x = ours.experiment(settings, f"model={model}", "runtime=plain")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        train = ours.data(x, torch.device("cpu")).train
        self.loader = DataLoader(
            Pictures(train.images, train.labels), batch_size=settings.batch_size, shuffle=True, num_workers=0
        )
        self.num_batches = min(-(-settings.train_images // settings.batch_size), MOST_BATCHES)
        self.model = x.network().to(self.device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        self.criterion = nn.CrossEntropyLoss()

    def train(self) -> Sample:
        """Images, and seconds from the first picture to the last update."""
        as_new()
        self.model.train()
        start = time.perf_counter()
        running_loss, num_correct, num_images = 0.0, 0, 0
        for images, labels in self._few():
            images, labels = images.to(self.device), labels.to(self.device)
            self.optimizer.zero_grad()
            outputs = self.model(images)
            loss = self.criterion(outputs, labels)
            loss.backward()
            self.optimizer.step()
            running_loss += loss.item()
            num_correct += int((outputs.argmax(1) == labels).sum().item())
            num_images += len(labels)
        return num_images, time.perf_counter() - start

    def batches(self) -> Sample:
        """Images, and the seconds of loading them onto the device alone."""
        as_new()
        start = time.perf_counter()
        num_images = sum(len(images.to(self.device)) for images, _ in self._few())
        return num_images, time.perf_counter() - start

    def _few(self) -> Iterator[Any]:
        return islice(self.loader, self.num_batches)


class Aside:
    """The plain loop in a process of its own: how a run has its process keep memory cannot be undone."""

    def __init__(self, settings: ours.Settings, model: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, settings, model), daemon=True)
        self.process.start()
        theirs.close()

    def train(self) -> Sample:
        """See Plain."""
        self.pipe.send("train")
        sample: Sample = self.pipe.recv()
        return sample

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join()


def _serve(pipe: Connection, settings: ours.Settings, model: str) -> None:
    plain = Plain(settings, model)
    with suppress(EOFError):
        while pipe.recv():
            pipe.send(plain.train())


def as_new() -> None:
    """PyTorch's settings as a fresh process has them; a run changes some."""
    torch.set_num_threads(THREADS)
    torch.set_deterministic_debug_mode("default")
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = True
