"""Generation code by code: SaShiMi, SampleRNN, WaveNet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from downstream.blocks.score_log import log_score
from downstream.interfaces import Outcome, RunContext, Score
from utility.errors import ConfigError

from .carried import Carried
from .data.batches import Framing
from .data.chunks import ChunkDataset, ChunkOrder
from .data.dataset import CodeDataset
from .expert import TASK, DownstreamExpert
from .generation.files import output_folder
from .generation.work import Generator, bits_per_sample
from .likelihood import hits, loss_of, scores_of
from .models.build import predictor
from .models.code_model import CodeModel
from .param_groups import param_groups
from .settings import SOURCE, Settings


class CodeExpert(DownstreamExpert):
    """A network that predicts each code of a recording from those before it; its score is the likelihood of the recordings in bits."""

    def __init__(self, *arguments: Any, **kwargs: Any):
        super().__init__(*arguments, **kwargs)
        self.carried = Carried()

    def checked(self, downstream_expert: Mapping[str, Any]) -> Settings:
        """The sections of the config."""
        return Settings.of(downstream_expert)

    def build(self) -> CodeModel:
        """The network that the settings describe."""
        self.quantiser = self.settings.quantiser
        model = predictor(self.settings.model, self.quantiser)
        if self.settings.tbptt is not None and not model.model.goes_on:
            name = self.settings.model["_name_"]
            raise ConfigError(
                f"{name} carries nothing from chunk to chunk; leave the section out (samplernn and wavenet can)", f"{SOURCE}.tbptt"
            )
        self.framing = self._framing(model)
        return model

    def _framing(self, network: CodeModel) -> Framing:
        reading, chunking, needed = self.settings.reading, self.settings.tbptt, network.warm_up
        if chunking is not None and chunking.overlap_len != needed + 1:
            raise ConfigError(f"overlap_len must be {needed + 1} for this network, not {chunking.overlap_len}", f"{SOURCE}.tbptt")
        frame = getattr(network.model, "lookback", 1)
        if chunking is not None and chunking.chunk_len % frame and chunking.chunk_len < self.settings.corpus.sample_len:
            raise ConfigError(
                f"chunk_len must be a multiple of {frame}, the longest frame of this network, not {chunking.chunk_len}", f"{SOURCE}.tbptt"
            )
        if reading.pad_len not in (None, needed):
            raise ConfigError(f"pad_len must be {needed} for this network, not {reading.pad_len}", f"{SOURCE}.datarc")
        powers, multiple = self.settings.corpus.name == "sc09", math.prod(self.settings.model.get("pool", ()))
        return Framing(self.quantiser.zero, needed, reading.context_len or 0, multiple, powers)

    # ---- data

    def dataset(self, split: str, kept: int = 0) -> CodeDataset:
        """The items of a split; ``kept`` of them stay in memory."""
        return CodeDataset(self.corpus_of(split), self.quantiser, self.sample_rate, kept)

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, x, y, whether the sequences begin)``: inputs (B, warm_up + L) and targets (B, L), int64."""
        reading, learns = self.settings.reading, self.training and split == self.train_split
        size = reading.batch_size if learns else reading.eval_batch_size or reading.batch_size
        if not learns or self.settings.tbptt is None:
            return DataLoader(self.dataset(split), size, shuffle=learns, num_workers=reading.num_workers, collate_fn=self._collate)
        dataset = ChunkDataset(self.dataset(split, kept=size), self.framing, self.settings.tbptt)
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        order = ChunkOrder([chunk.frames for chunk in self.corpus_of(split)], self.settings.tbptt, size, shuffle=True, ranks=ranks)
        return DataLoader(dataset, batch_sampler=order, num_workers=reading.num_workers, collate_fn=dataset.collate)

    def _collate(self, items: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], Tensor, Tensor, bool]:
        wavs, codes = zip(*items, strict=True)
        return list(wavs), *self.framing.batch(codes), True

    # ---- training and evaluation

    def param_groups(self, modules: Mapping[str, nn.Module]) -> list[dict[str, Any]]:
        """The learning rates and decays that parameters of the network ask for."""
        return param_groups(self.model.model, modules.values())

    def begin_with(self, upstream: nn.Module) -> None:
        """Makes the network ready for the longest sequences of the training."""
        splits = {self.train_split, *self.evaluated} & set(self.splits)
        longest = max((chunk.frames for split in splits for chunk in self.corpus_of(split)), default=1)
        self.model.prepare(self.framing.length(longest), self.quantiser.zero)

    def forward(
        self, split: str, features: list[Tensor], x: Tensor, y: Tensor, begins: bool, records: dict[str, list], **kwargs: Any
    ) -> Tensor:
        """The mean loss of a batch in nats.

        Args:
            features: not used.
            x: inputs (B, warm_up + L).
            y: targets (B, L).
            begins: the sequences begin here; otherwise they go on from the last batch.
            records: lists to grow.
        """
        x, y = x.to(self.best_score.device), y.to(self.best_score.device)
        if self.training and self.settings.tbptt is not None:
            logits, state = self.model(x, None if begins else self.carried.of_this_process(x.device))
            self.carried.put(state)
            total, count = self._score(logits, y, records)
        elif self.training or self.settings.tbptt is None:
            total, count = self._score(self.judged()(x)[0], y, records)
        else:
            total, count = self._in_chunks(x, y, records)
        return total / max(1, count)

    def _score(self, logits: Tensor, y: Tensor, records: dict[str, list]) -> tuple[Tensor, int]:
        total, count = loss_of(logits, y)
        records["nats"].append(total.item())
        records["count"].append(count)
        if not self.training:
            for name, number in hits(logits, y).items():
                records[name].append(number)
        return total, count

    def _in_chunks(self, x: Tensor, y: Tensor, records: dict[str, list]) -> tuple[Tensor, int]:
        """Whole sequences, chunk by chunk."""
        state, total, count = None, x.new_zeros((), dtype=torch.float32), 0
        for start in self.settings.tbptt.starts(y.size(1)):
            inputs, targets = self.settings.tbptt.window(x, y, start)
            logits, state = self.judged()(inputs, state)
            loss, scored = self._score(logits, targets, records)
            total, count = total + loss, count + scored
        return total, count

    def before_update(self) -> None:
        """Cuts the numbers of the gradient."""
        if self.settings.clip_value is not None:
            nn.utils.clip_grad_value_(self.model.parameters(), self.settings.clip_value)

    def after_update(self) -> None:
        """Moves the average on; tells the other processes what this one carries."""
        super().after_update()
        if self.settings.tbptt is not None:
            self.carried.exchange()

    @property
    def _chunks(self) -> list[int]:
        """What decides which codes a carried state belongs to."""
        chunking = self.settings.tbptt
        return [chunking.chunk_len, self.settings.corpus.sample_len, self.settings.reading.batch_size] if chunking else []

    def get_extra_state(self) -> dict[str, Any]:
        """What is carried from chunk to chunk."""
        return {"carried": self.carried.states, "chunks": self._chunks}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes up that of a checkpoint, unless the chunks are others now: it would be that of other codes."""
        known = state.get("chunks", self._chunks) == self._chunks
        self.carried.states = list(state["carried"]) if known else [None]

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs bits per sample; asks for ``dev-best.ckpt`` whenever those of the first split to be evaluated are the fewest so far."""
        scores = scores_of(records)
        for name, score in scores.items():
            logger.add_scalar(f"{TASK}/{split}-{name}", score.value, global_step=global_step)
        if split == self.train_split and "hits@1" not in records:
            return Outcome()
        bits = scores["bpb"].value
        best = split in self.evaluated[:1] and bits < self.best_score.item()
        if best:
            self.best_score.fill_(bits)
        log_score(Path(self.results_dir), split, global_step, bits, best)
        return Outcome(["dev-best.ckpt"] if best else [], scores=scores)

    # ---- use

    def run(self, name: str, context: RunContext) -> Mapping[str, Score]:
        """Generates recordings; their scores are the bits that the network itself needs for their codes."""
        options = self.settings.generate
        examples = self.dataset(options.split) if options.l_prefix else None
        if examples is not None and len(examples) < options.n_samples:
            raise ConfigError(f"n_samples is {options.n_samples}, but {options.split} has {len(examples)} examples", f"{SOURCE}.generate")
        seed = context.seed if options.seed is None else options.seed
        with output_folder(options.save_dir, context.results_dir) as folder:
            generator = Generator(self.judged(), self.quantiser, options, context.device, seed, self.settings.model, examples)
            paths, logprobs = generator.run(folder, self.settings.corpus.name, self.sample_rate)
        drawn = options.l_sample - max(0, options.l_prefix - 1)
        return {
            "recordings": Score(len(paths), True, "count"),
            "bits": Score(bits_per_sample(logprobs, drawn), False, "bits per sample, of what was generated"),
        }
