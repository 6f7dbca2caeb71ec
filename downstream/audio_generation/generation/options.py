"""The section ``generate``; its fields have the names of the published program's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from utility.errors import ConfigError
from utility.training.fields import Count, CountFromZero, NotNegative, Part, check_finite, check_name, made_of

from ..data.corpora import SPLITS

SOURCE = "config.downstream_expert.generate"
BATCH = {"cpu": 32, "cuda": 1024}


@dataclass(frozen=True)
class Options:
    """What is generated.

    Args:
        n_samples: streams; with a prefix, examples to go on from.
        n_batch: streams, or examples, of a pass; None: 32 on a CPU, 1024 on a GPU. What is generated does not
            depend on it, but for rounding, after which a long sequence may go another way.
        n_reps: sequences that go on from each example.
        l_sample: codes of a sequence, its prefix included.
        l_prefix: inputs that an example gives: the zero token and its first ``l_prefix - 1`` codes; 0: no example is read.
        split: whose first examples these are.
        temp: logits are divided by it; 0: always the likeliest code.
        top_p: draw from the likeliest codes only, those that together exceed this probability.
        seed: of the drawing; None: the experiment's.
        save_dir: the folder of the files; None: ``samples/`` in that of the results.
        mode: how the recurrence of S4 is computed: ``dense``, ``diagonal``, ``linear``; None: the quickest that is exact.
        entropy: keep the summed entropies as well.
        test_model: compare the steps with a forward pass before anything is generated.
        published: decode by mu-law whatever the codes are, and draw WaveNet's first code before the zero token, as the published program.
    """

    n_samples: Count = 32
    n_batch: Count | None = None
    n_reps: Count = 1
    l_sample: Count = 16000
    l_prefix: CountFromZero = 0
    split: str = "val"
    temp: NotNegative = 1.0
    top_p: Part = 1.0
    seed: CountFromZero | None = None
    save_dir: str | None = None
    mode: str | None = None
    entropy: bool = False
    test_model: bool = False
    published: bool = False

    @classmethod
    def of(cls, fields: Mapping[str, Any] | None) -> Options:
        """From the section.

        Raises:
            ConfigError, UnknownNameError: fields that do not exist or are impossible.
        """
        options = made_of(cls, fields if fields is not None else {}, source=SOURCE)
        check_finite({"temp": options.temp}, source=SOURCE)
        check_name(f"split in {SOURCE}.split", options.split, SPLITS)
        if options.l_prefix > options.l_sample:
            raise ConfigError(f"l_prefix must be at most l_sample, {options.l_sample}, not {options.l_prefix}", SOURCE)
        if options.n_reps > 1 and not options.l_prefix:
            raise ConfigError("n_reps needs l_prefix, the number of codes to go on from; without it n_samples alone counts", SOURCE)
        return options

    def batch(self, device: str) -> int:
        """Examples of a pass."""
        return min(self.n_samples, self.n_batch or max(1, BATCH.get(device.partition(":")[0], BATCH["cpu"]) // self.n_reps))
