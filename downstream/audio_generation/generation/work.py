"""``-m evaluate -t generate``: sequences of codes as recordings, sorted by their likelihood."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from utility.errors import ConfigError, DataError
from utility.features.threads import in_threads

from ..data.dataset import CodeDataset
from ..models.code_model import CodeModel
from ..quantise import Quantiser
from .agreement import check_steps
from .drawing import Drawing, Uniforms, entropies
from .files import Naming, write
from .loop import Loop
from .options import SOURCE, Options
from .passes import HEARD, Passes, Progress, fingerprint

BESIDE = ("save_dir", "test_model", "n_batch", "seed")  # options that decide no code, and the seed, which may be the experiment's


@dataclass(frozen=True)
class Generator:
    """
    Args:
        model: in evaluation mode.
        quantiser: codes to waveforms.
        options: what is generated.
        device: of the model.
        seed: of the drawing.
        config: the section that the model is made of: what its weights do not show decides the codes too.
        examples: what to go on from, where ``options.l_prefix`` asks for it.
    """

    model: CodeModel
    quantiser: Quantiser
    options: Options
    device: str
    seed: int
    config: Mapping[str, Any]
    examples: CodeDataset | None = None

    def run(self, folder: Path, corpus: str, sample_rate: int) -> tuple[list[Path], np.ndarray]:
        """Generates and writes everything, or what is left of it.

        Args:
            folder: where to.
            corpus: what the files are called after, beside the model.
            sample_rate: in Hz.

        Returns:
            the recordings, and the natural log likelihoods of the sequences, in the order of replicas and examples.

        Raises:
            ConfigError: the steps would go on beyond what the forward pass knows.
            DataError: the network says no numbers, or a recording is too short to go on from.
        """
        options = self.options
        if (reach := getattr(self.model.model, "reach", math.inf)) < options.l_sample:
            raise ConfigError(f"l_sample must be at most {reach}, not {options.l_sample}: l_max of modelrc cuts the kernel there", SOURCE)
        if options.test_model:
            check_steps(self.model, self.quantiser.zero, self.device, options.mode)
        passes = Passes(folder, fingerprint(self._decisive(), self.model.state_dict()))
        left = passes.left(options.n_samples, options.batch(self.device), self._heard)
        with passes.bar(left, options.l_sample) as bar:
            self._fill(passes, left, bar)
        found = _together([passes.load(examples) for examples in passes.done()])
        naming = Naming(corpus, self.config["_name_"], options.l_sample / sample_rate, conditional=bool(options.l_prefix))
        paths = write(folder, naming, found, self._decoder, sample_rate)
        passes.clear()
        return paths, found["logprobs"]

    def _fill(self, passes: Passes, left: list[range], bar: tqdm) -> None:
        """Makes and keeps the passes that are left, on a CPU one on each core."""
        progress = Progress(bar)

        def make(examples: range) -> None:
            if progress.stopped:
                return
            with progress.of_pass():
                heard = self._heard(examples)
                passes.keep(examples, self._generate(examples, progress), heard)

        if not self.device.startswith("cpu"):
            for examples in left:
                make(examples)
            return
        try:
            in_threads(make, left)
        finally:
            progress.stopped = True  # where somebody has pressed Ctrl-C

    @property
    def _decoder(self) -> Quantiser:
        return Quantiser("mu-law", self.quantiser.bits) if self.options.published else self.quantiser

    def _decisive(self) -> Mapping[str, object]:
        """What decides the codes."""
        fields = {name: value for name, value in asdict(self.options).items() if name not in BESIDE}
        chunks = [] if self.examples is None else [str(chunk) for chunk in self.examples.chunks[: self.options.n_samples]]
        return {**fields, "seed": self.seed, "examples": chunks, "codes": str(self.quantiser), "model": dict(self.config)}

    def _generate(self, examples: range, progress: Progress) -> dict[str, np.ndarray]:
        """One pass: all replicas of some examples."""
        options = self.options
        streams = [(example, replica) for replica in range(options.n_reps) for example in examples]
        entropy = torch.zeros(len(streams), dtype=torch.float64, device=self.device)

        def at_step(logits: Tensor, drawn: bool) -> None:
            progress.step()
            if drawn and options.entropy:
                entropy.add_(entropies(logits))

        loop = Loop(Drawing(options.temp, options.top_p), self.quantiser.zero, options.published)
        stepper = self.model.stepper(len(streams), options.mode)
        progress.expect(loop.skipped(stepper))
        codes, logprobs = loop(
            stepper,
            Uniforms([(self.seed, *stream) for stream in streams], self.device),
            options.l_sample,
            len(streams),
            prefix=self._prefix(streams),
            device=self.device,
            at_step=at_step,
        )
        if not torch.isfinite(logprobs).all():
            raise DataError("the network says numbers that are not finite: its training has failed, or the checkpoint is damaged")
        found = {
            "codes": codes.cpu().numpy().astype(np.uint8 if self.quantiser.bits <= 8 else np.int32),
            "logprobs": logprobs.cpu().numpy(),
        }
        found |= {"example": np.array([e for e, _ in streams]), "replica": np.array([r for _, r in streams])}
        return found | ({"entropy": entropy.cpu().numpy()} if options.entropy else {})

    def _heard(self, examples: range) -> bytes:
        """What the sequences of some examples go on from."""
        if not (wanted := self.options.l_prefix):
            return b""
        return b"".join(self._beginning(example, wanted - 1).numpy().tobytes() for example in examples)

    def _prefix(self, streams: list[tuple[int, int]]) -> Tensor | None:
        """(streams, l_prefix): the zero token and the first codes of each stream's example."""
        wanted = self.options.l_prefix
        if not wanted:
            return None
        given = {example: self._beginning(example, wanted - 1) for example, _ in streams}
        return torch.stack([given[example] for example, _ in streams])

    def _beginning(self, example: int, count: int) -> Tensor:
        _, codes = self.examples[example]
        if len(codes) < count:
            path = self.examples.chunks[example].path
            raise DataError(f"{path} has {len(codes)} samples, too few for generate.l_prefix, which takes {count} of each example")
        return torch.cat([torch.tensor([self.quantiser.zero]), codes[:count]])


def _together(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What passes have found, the first replicas of all examples first, however many examples a pass had."""
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != HEARD}
    order = np.lexsort((found["example"], found["replica"]))
    return {name: values[order] for name, values in found.items()}


def bits_per_sample(logprobs: np.ndarray, drawn: int) -> float:
    """The mean of -log2 of the probability of each code that was drawn."""
    return float(-logprobs.mean() / max(1, drawn) / math.log(2))
