"""get_libri_words_not_in_lexicon.py on a small tree of transcripts."""

from __future__ import annotations

import re

import pytest

from preprocess.get_libri_words_not_in_lexicon import main


@pytest.fixture
def tree(tmp_path):
    for speaker, lines in {"1": "1-1-0 THE CAT\n1-1-1 A ZEBRA'S CAT\n", "2": "2-1-0 THE YAK\n"}.items():
        folder = tmp_path / "libri" / "dev-clean" / speaker / "1"
        folder.mkdir(parents=True)
        (folder / f"{speaker}-1.trans.txt").write_text(lines)
    (tmp_path / "lexicon.txt").write_text("the\tDH AH0\nA AH0\nCAT  K AE1 T\n\n")
    return tmp_path


def arguments(tree, *more: str) -> list[str]:
    return ["--libri", str(tree / "libri"), "--lexicon", str(tree / "lexicon.txt"), "--output_words", str(tree / "out/words.txt"), *more]


@pytest.mark.parametrize("jobs", ["1", "-1"])
def test_missing_words_are_sorted(tree, jobs, capsys):
    assert main(arguments(tree, "--njobs", jobs)) == 0
    assert (tree / "out/words.txt").read_text() == "YAK\nZEBRA'S\n"
    assert capsys.readouterr().out.endswith("words.txt: 2 words\n")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tree: (tree / "lexicon.txt").unlink(), "lexicon.txt does not exist"),
        (lambda tree: (tree / "lexicon.txt").write_text("\n"), "lexicon.txt is empty"),
        (lambda tree: (tree / "libri").rename(tree / "other"), "--libri: folder .* does not exist"),
        (lambda tree: [path.unlink() for path in tree.rglob("*.trans.txt")], r"no \*.trans.txt below"),
        (lambda tree: (tree / "out").write_text("a file"), "cannot write"),
    ],
)
def test_wrong_places_are_one_sentence(tree, change, sentence, capsys):
    change(tree)
    assert main(arguments(tree)) == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_no_jobs_are_refused(tree, capsys):
    assert main(arguments(tree, "--njobs", "0")) == 2
    assert "--njobs must be at least 1" in capsys.readouterr().err
