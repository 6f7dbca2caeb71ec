"""The tasks that say of a whole recording what it is: which word, which speaker, which emotion, which intent.

A task derives from :class:`UtteranceClassifier`, says what its classes are and reads its corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.heads import Head, UtteranceLevel, build_head
from downstream.blocks.score_log import log_score
from downstream.interfaces import Outcome, Score
from utility.errors import ConfigError
from utility.training.fields import check_counts, check_fields

Vocabularies = Mapping[str, Sequence[str]]


class UtteranceClassifier(CorpusTask):
    """Projector, pooling and linear classifier; the metric is accuracy.

    Most tasks ask one question about a recording; some ask several at once, such as action, object and location of a command. Then the
    outputs of the classifier are those of the first question, of the second and so on, the loss is the sum of theirs, and an answer is
    right if all of it is.

    Attributes:
        tag: what the tags of the logger begin with.
        heads: what ``modelrc.select`` may name.
        separator, extension: of the columns, and of the names, of the files of answers.
        answers_in_training: files of answers are written of the training split, too.
        single_precision: accuracies are rounded to single precision, as S3PRL logs them for most tasks.
        loss_tag: what the logger calls the loss.
        vocabularies: the possible answers to each question, in the order of the outputs.
    """

    sample_rate = 16000
    length_rule = "own"  # padding must not count: an answer would depend on its batch
    task_version = 2  # frames of padding are no longer heard
    splits = ("train", "dev", "test")
    tag: str
    heads: ClassVar[Mapping[str, Head]] = {"UtteranceLevel": UtteranceLevel}
    separator, extension = " ", "txt"
    answers_in_training = True
    single_precision = False
    loss_tag = "loss"

    def build(self, upstream_dim: int, modelrc: Mapping[str, Any], vocabularies: Vocabularies) -> None:
        """Makes the model; a checkpoint that is loaded later brings its own vocabularies.

        Args:
            upstream_dim: width of the features.
            modelrc: ``projector_dim``, ``select`` and the options of the head as in config.yaml.
            vocabularies: the possible answers to each question.

        Raises:
            ConfigError: a field that there is not, or a value that makes no sense.
        """
        check_fields(modelrc, {"projector_dim", "select", *self.heads}, ("projector_dim", "select"), source=f"{SOURCE}.modelrc")
        check_counts(modelrc, {"projector_dim": 1}, source=f"{SOURCE}.modelrc")
        self.modelrc, self.vocabularies = modelrc, {question: list(answers) for question, answers in vocabularies.items()}
        self.projector = nn.Linear(upstream_dim, modelrc["projector_dim"])
        self.model = self._head()
        if (modelrc.get(modelrc["select"]) or {}).get("published"):
            self.length_rule = "round"  # S3PRL's frames with S3PRL's pooling
        self.register_buffer("best_score", torch.zeros(1))
        self.register_load_state_dict_pre_hook(_take_vocabularies)

    def _head(self) -> nn.Module:
        outputs = sum(map(len, self.vocabularies.values()))
        return build_head(self.modelrc, self.modelrc["projector_dim"], outputs, self.heads, source=f"{SOURCE}.modelrc")

    def get_extra_state(self) -> dict[str, dict[str, list[str]]]:
        """The vocabularies, so that a checkpoint says what its outputs mean."""
        return {"vocabularies": self.vocabularies}

    def set_extra_state(self, state: dict[str, dict[str, list[str]]]) -> None:
        """Nothing is left to do: the vocabularies came before the head's weights."""

    def published_vocabularies(self, outputs: int) -> Vocabularies:
        """What the outputs of a checkpoint of S3PRL mean, which does not say it.

        Args:
            outputs: how many there are.
        """
        return self.vocabularies

    def take_vocabularies(self, vocabularies: Vocabularies) -> None:
        """Replaces vocabularies and head by those of a checkpoint.

        Raises:
            ConfigError: the corpus has been read with others.
        """
        vocabularies = {question: list(answers) for question, answers in vocabularies.items()}
        if vocabularies == self.vocabularies:
            return
        if self._corpora:
            changed = [question for question, answers in self.vocabularies.items() if answers != vocabularies.get(question)]
            raise ConfigError(
                f"the corpus has other classes ({', '.join(changed)}) than the one that the checkpoint was trained on", self.datarc_source
            )
        self.vocabularies = vocabularies
        self.model = self._head().to(self.projector.weight.device).train(self.training)

    def logits(self, features: list[Tensor]) -> Tensor:
        """List of (T_i, D) -> (B, answers to all questions)."""
        lengths = torch.tensor([max(1, len(feature)) for feature in features], device=features[0].device)
        padded = pad_sequence(features, batch_first=True)
        if not padded.size(1):
            padded = F.pad(padded, (0, 0, 0, 1))  # an upstream may find nothing in a recording; then it is one frame of padding
        return self.model(self.projector(padded), lengths)[0]

    def _by_question(self, logits: Tensor) -> tuple[Tensor, ...]:
        return logits.split([len(answers) for answers in self.vocabularies.values()], dim=1)

    def forward(
        self, split: str, features: list[Tensor], labels: Sequence[Any], names: list[str], records: dict[str, list], **kwargs: Any
    ) -> Tensor:
        """Cross entropy of a batch; records it, and per item whether it is right, its name, prediction and truth.

        Args:
            features: list of (T_i, D).
            labels: of each item the number of its class, or a number for each question.
            names: what the files of answers call the items.
            records: lists to grow.
        """
        logits = self._by_question(self.logits(features))
        target = torch.as_tensor(labels, device=features[0].device).view(len(features), -1)
        loss = sum(F.cross_entropy(part, wanted) for part, wanted in zip(logits, target.unbind(dim=1), strict=True))
        predicted = torch.stack([part.argmax(dim=1) for part in logits], dim=1)
        records["loss"].append(loss.item())
        records["acc"] += (predicted == target).all(dim=1).float().tolist()
        records["filename"] += names
        records["predict"] += [self._answer(numbers) for numbers in predicted.tolist()]
        records["truth"] += [self._answer(numbers) for numbers in target.tolist()]
        return loss

    def _answer(self, numbers: Sequence[int]) -> str:
        return self.separator.join(answers[number] for answers, number in zip(self.vocabularies.values(), numbers, strict=True))

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs loss and accuracy, appends to ``log.log``, writes the files of answers; a better dev accuracy gives ``dev-best.ckpt``."""
        loss, accuracy = (sum(records[name]) / len(records[name]) for name in ("loss", "acc"))
        accuracy = torch.tensor(accuracy).item() if self.single_precision else accuracy
        further = self.further_scores(records)
        logged = {self.loss_tag: loss, "acc": accuracy, **{name: score.value for name, score in further.items()}}
        for name, value in logged.items():
            logger.add_scalar(f"{self.tag}/{split}-{name}", value, global_step=global_step)
        print(f"{split} acc: {accuracy}")

        best = split == "dev" and bool(torch.tensor(accuracy) > self.best_score.cpu())
        if best:
            self.best_score.fill_(accuracy)
        self.results_dir.mkdir(parents=True, exist_ok=True)
        log_score(self.results_dir, split, global_step, accuracy, best)
        for what in ("predict", "truth") if self.answers_in_training or split != self.train_split else ():
            self._write_answers(f"{self.answers_of(split)}_{what}.{self.extension}", records["filename"], records[what])
        scores = {"acc": Score(accuracy, higher_is_better=True), "loss": Score(loss, higher_is_better=False, unit="nats")}
        return Outcome(save_names=["dev-best.ckpt"] if best else [], scores={**scores, **further})

    def answers_of(self, split: str) -> str:
        """What the names of a split's files of answers begin with."""
        return split

    def further_scores(self, records: Mapping[str, list]) -> Mapping[str, Score]:
        """What a task reports beside accuracy and loss."""
        return {}

    def _write_answers(self, file: str, names: list[str], answers: list[str]) -> None:
        lines = (f"{name}{self.separator}{answer}\n" for name, answer in zip(names, answers, strict=True))
        (self.results_dir / file).write_text("".join(lines), encoding="utf-8")

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """The answer for each recording and the probabilities of all classes, the likeliest first; by question where there are several."""
        found: list[dict[str, Any]] = [{"file": name} for name in names]
        for (question, answers), logits in zip(self.vocabularies.items(), self._by_question(self.logits(features)), strict=True):
            for item, probabilities in zip(found, logits.softmax(dim=-1).tolist(), strict=True):
                ranked = dict(sorted(zip(answers, probabilities, strict=True), key=lambda pair: -pair[1]))
                answer = {"label": next(iter(ranked)), "probabilities": ranked}
                item.update(answer if len(self.vocabularies) == 1 else {question: answer})
        return found


def _take_vocabularies(module: UtteranceClassifier, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """The head must have as many outputs as the checkpoint before its weights are loaded; S3PRL's checkpoints only hold the weights."""
    own = f"{prefix}_extra_state"
    if own not in state:
        biases = [value for name, value in state.items() if name.startswith(f"{prefix}model.") and name.endswith("bias")]
        state[own] = {"vocabularies": module.published_vocabularies(len(biases[-1])) if biases else module.vocabularies}
    module.take_vocabularies(state[own]["vocabularies"])
