"""The command line: every flag of S3PRL, faults in one sentence, no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from utility.errors import UnknownNameError, UsageError
from utility.experiment.command_line import Arguments, option_names, parse


def names() -> list[str]:
    return ["fbank", "mfcc"]


def parsed(line: str) -> Arguments:
    return parse(line.split(), names, names)


S3PRL = """
mode evaluate_split override backend local_rank past_exp init_ckpt config downstream downstream_variant hub
upstream upstream_ckpt upstream_model_config upstream_refresh upstream_trainable upstream_feature_selection
upstream_layer_selection upstream_feature_normalize upstream_model_name upstream_revision expname expdir
auto_resume push_to_hf_hub hf_hub_org seed device cache_dir verbose disable_cudnn
"""


def test_every_argument_of_s3prl_is_there():
    assert set(S3PRL.split()) <= set(vars(parsed("-u fbank -d example")))


def test_defaults():
    args = parsed("-u fbank -d example -n Hello")
    assert (args.mode, args.evaluate_split, args.seed, args.device, args.hub) == ("train", ["test"], 1337, "auto", "torch")
    assert (args.upstream_feature_selection, args.upstream_layer_selection, args.upstream_trainable) == ("hidden_states", None, False)


def test_short_options_mean_the_long_ones():
    short = parsed("-m evaluate -t a -o x -e e -i i -c c -d d -v v -u u -k k -g g -r -f -s s -l -2 -n n -p p -a")
    long = parsed(
        "--mode evaluate --evaluate_split a --override x --past_exp e --init_ckpt i --config c --downstream d --downstream_variant v"
        " --upstream u --upstream_ckpt k --upstream_model_config g --upstream_refresh --upstream_trainable --upstream_feature_selection s"
        " --upstream_layer_selection -2 --expname n --expdir p --auto_resume"
    )
    assert vars(short) == vars(long)
    assert short.upstream_layer_selection == -2


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--name x", "expname", "x"),
        ("--expname x", "expname", "x"),
        ("--upstream_config g", "upstream_model_config", "g"),
        ("--local_rank 1", "local_rank", 1),
        ("--local-rank 1", "local_rank", 1),
        ("--local-rank=1", "local_rank", 1),
        ("--device cuda:3", "device", "cuda:3"),
        ("-t a.wav folder", "evaluate_split", ["a.wav", "folder"]),
        ("--upstream_tr", "upstream_trainable", True),
        ("--hub torch", "hub", "torch"),
        ("--push_to_hf_hub False", "push_to_hf_hub", "False"),
        ("--output o.jsonl", "output", "o.jsonl"),
        ("--allow_pipes", "allow_pipes", True),
    ],
)
def test_spellings(line, name, value):
    args = parsed(line)
    assert getattr(args, name) == value
    assert args.given == {name}


def test_overrides_add_up():
    assert parsed("-o config.a=1 --override config.b=2,,config.a=3").override == "config.a=1,,config.b=2,,config.a=3"


def test_given_stays_out_of_what_is_dumped():
    args = parsed("-u fbank -d example --seed 1337")
    assert args.given == {"upstream", "downstream", "seed"}
    assert "given" not in vars(args)
    assert set(vars(args)) == set(option_names())


def test_default_list_is_not_shared():
    parsed("").evaluate_split.append("x")
    assert parsed("").evaluate_split == ["test"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-m trian", "unknown mode 'trian'; did you mean 'train'?"),
        ("--upstrem fbank", "unknown option '--upstrem'; did you mean '--upstream'?"),
        ("--upstrem=fbank", "unknown option '--upstrem'; did you mean '--upstream'?"),
        ("--device cuda:x", "unknown device 'cuda:x'"),
        ("--device gpu", "unknown device 'gpu'"),
        ("--hub torhc", "did you mean 'torch'?"),
        ("stray", "unexpected word 'stray'"),
        ("--seed -1", "seed"),
        ("--seed 4294967296", "not a whole number"),
        ("-l x", "upstream_layer_selection"),
        ("-t", "evaluate_split"),
        ("--upstream_feature_", "ambiguous"),
        ("--push_to_hf_hub True", "huggingface-cli upload"),
        ("--hub huggingface", "huggingface-cli download"),
    ],
)
def test_faults_are_one_sentence(line, sentence):
    with pytest.raises(UsageError) as caught:
        parsed(line)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_word_is_an_unknown_name():
    with pytest.raises(UnknownNameError):
        parsed("-m evalute")


def test_help_lists_names_without_torch(repo: Path):
    program = (
        "import sys\n"
        "from utility.experiment.command_line import parse\n"
        "try:\n    parse(['-h'], lambda: ['up-one', 'up_two'] * 40, lambda: ['down_one'])\n"
        "finally:\n    print([m for m in ('torch', 'numpy') if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repo, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for shown in (
        "--upstream_trainable",
        "upstreams:",
        "up-one, up_two",
        "downstreams:\n  down_one",
        "(default: 1337)",
        "-n NAME, --name NAME",
    ):
        assert shown in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 140


def test_names_are_not_looked_up_without_help():
    def fails() -> list[str]:
        raise AssertionError("looked up")

    parse(["-u", "fbank", "-d", "example"], fails, fails)


def test_library_is_light(repo: Path):
    modules = ["override", "config", "folder", "plain", "literal", "states", "killpoints", "dialect"]
    program = f"import sys, {', '.join(f'utility.experiment.{m}' for m in modules)}; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=repo).returncode == 0
