"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.support.corpora import synthetic

SMALL = (
    "config.downstream_expert.datarc.batch_size=2,,"
    "config.downstream_expert.modelrc={'bottleneck_dim':8,'hidden_dim':8,'num_layers':2},,"
    "config.optimizer.lr=0.001,,config.scheduler.num_warmup_steps=1"
)


def prepare(place: Path) -> dict[str, object]:
    """The tiny synthetic corpus, in which more queries are said to occur."""
    root = synthetic("quesst", place) / "quesst14Database"
    make_up(root)
    return {"upstream": "fbank", "override": f"{SMALL},,config.downstream_expert.datarc.dataset_root='{root}'"}


def make_up(root: Path) -> None:
    """Replaces the ground truth: each query of dev occurs in two of five documents. So small a corpus has too few true pairs."""
    queries, documents = (sorted(path.stem for path in (root / folder).glob("*.wav")) for folder in ("dev_queries", "Audio"))
    pairs = [(query, document) for i, query in enumerate(queries) for j, document in enumerate(documents) if (i + j) % 5 < 2]
    lines = (f"LEXEME {document} 1 0.000 1.000 {query} lex <NA> <NA>\n" for query, document in pairs)
    (root / "scoring/groundtruth_quesst14_dev/quesst14_dev.rttm").write_text("".join(lines))
