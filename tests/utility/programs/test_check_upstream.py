"""check_upstream.py on upstreams that keep the contract and on such that break it, one way each."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from upstream.contract import CHECKS
from utility import check_upstream

RIGHT = """
import torch
from torch import nn
from utility.features.waves import check_waves, pad_waves

class UpstreamExpert(nn.Module):
    batch_independent = True

    def __init__(self, ckpt=None, model_config=None, scale=1.0, **kwargs):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(160, 6), nn.Linear(6, 6)])
        self.dropout, self.scale, self.calls = nn.Dropout(0.1), scale, 0

    def get_downsample_rates(self, key):
        return 160

    def forward(self, wavs):
        wavs = check_waves(wavs, 160)
        padded = pad_waves([wav[: len(wav) // 160 * 160] for wav in wavs]) * self.scale
        states = [self.layers[0](padded.unflatten(1, (-1, 160)))]
        states.append(self.dropout(self.layers[1](states[0])))
        lengths = torch.tensor([len(wav) // 160 for wav in wavs])
        return {"hidden_states": states, "last_hidden_state": states[-1], "lengths": lengths}
"""
RETURN = '        return {"hidden_states": states, "last_hidden_state": states[-1], "lengths": lengths}\n'
CHECKED = "check_waves(wavs, 160)"


def late(line: str) -> tuple[str, str]:
    """A line before the last."""
    return RETURN, f"        {line}\n{RETURN}"


WRONG = {  # by the check that finds it: what is replaced by what, and the finding
    "frame rate": ("return 160\n", "return 320\n", r"0.4 s gave 40 frames; at 320 samples per frame it should be about 20"),
    "lengths": (
        "len(wav) // 160 for",
        "len(wav) // 160 + (len(wavs) > 1) for",
        r"are \[41, .*\], but the items alone have \[40, .*\]",
    ),
    "train mode": (*late("states = states[: 1 + (not self.training)]"), r"1 states in train mode, 2 in eval mode \(layerdrop"),
    "two calls": (*late("self.calls += 1; states[1] = states[1] + self.calls"), r"two calls in eval mode differ by"),
    "batch": (*late("states[1] = states[1] + padded.size(1)"), r"batch_independent is True, but an item differs by"),
    "gradients": (*late("states = [state.detach() for state in states]"), r"carry no graph in train mode, so that none of 4 parameters"),
    "type, device": (*late("states = [state.double() for state in states]"), r"state 0 is float64 for float32 waveforms"),
    "NaN": (CHECKED, "[torch.nan_to_num(wav) for wav in wavs]", r"a waveform with NaN gave finite states"),
    "0.05 s": (CHECKED, f"{CHECKED}; assert len(wavs[0]) > 800, 'x'", r"AssertionError: x \(.*expert.py, line \d+\)"),
    "20 s": (CHECKED, f"{CHECKED}; assert len(wavs) != 2 or len(wavs[0]) < 99999, 'x'", r"AssertionError: x"),
    "hidden states": ("states[0])))", "states[0][:, 1:])))", r"the states have \[122, 123\] frames; all need the same"),
    "last hidden state": ("states[-1], ", "states[-1][:, :9], ", r"last_hidden_state is \(1, 9, 6\) beside states of \(1, 50, 6\)"),
}

SHIFTED = "torch.cat([state[-1:], state[:-1]])"
ALSO_WRONG = {  # what broke the contract once without being seen: check, what is replaced by what, the finding
    "items in another order": (
        "order",
        *late(f"states = [{SHIFTED} for state in states]"),
        r"at place 0 of a batch moves the states at place 1:",
    ),
    "sorted": ("order", CHECKED, f"sorted({CHECKED}, key=len)[::-1]", r"at place 0 of a batch moves the states at place 3:"),
    "large batches": ("one length", *late("states[1] = states[1] + (len(wavs) > 4)"), r"item \d of 8 waveforms of one length is"),
    "mean of the batch": ("other items", *late("states[1] = states[1] + states[1].mean()"), r"with what the other waveforms .* hold"),
    "in place": ("waveforms", CHECKED, f"[wav.mul_(0.5) for wav in {CHECKED}]", r"waveform 0 .* changed in place in eval mode"),
    "seeds": ("random streams", *late("torch.manual_seed(0)"), r"in eval mode moved the global random stream of torch;"),
    "seeds to train": ("random streams", *late("if self.training: torch.manual_seed(0)"), r"in train mode seeds the .* stream of torch"),
    "draws": ("random streams", *late("import random; random.random()"), r"in eval mode moved the global random stream of random;"),
    "tiny noise": ("two calls", *late("states[1] = states[1] + torch.randn(1) * 1e-6"), r"two calls in eval mode differ by"),
    "weights": ("stateless", "batch_independent =", "stateless = batch_independent =", r"there are 4 trainable parameters"),
    "counts": ("in the end", *late("self.calls += 1; states[1] = states[1] + (self.calls > 40)"), r"from the first call"),
    "last is NaN": ("last hidden state", "states[-1], ", "states[-1] * torch.nan, ", r"last_hidden_state holds NaN"),
    "half": ("type, device", *late("states = [state.half() for state in states]"), r"state 0 is float16 for float32 waveforms"),
    "lazy layers": ("state dict", "nn.Linear(160, 6)", "nn.LazyLinear(6)", r"makes layers.0.weight \(6, 160\), which was without a shape"),
    "made by a call": (
        "state dict",
        *late("self.more = getattr(self, 'more', None) or nn.Linear(6, 6)"),
        r"makes more.weight \(6, 6\), which was absent",
    ),
    "a table that grows": (
        "state dict",
        *late("self.register_buffer('table', torch.zeros(max(padded.size(1), *getattr(self, 'table', torch.zeros(1)).shape)))"),
        r"makes table \(19680,\), which was absent",
    ),
    "takes nothing back": (
        "state dict",
        "    def get_downsample",
        "    def get_extra_state(self):\n        return 1\n\n"
        "    def set_extra_state(self, state):\n        raise KeyError(7)\n\n    def get_downsample",
        r"its own state dict is not taken back: .*7",
    ),
    "last is no tensor": ("last hidden state", "states[-1], ", "[], ", r"last_hidden_state is a list, not a tensor"),
    "fractions of frames": (
        "lengths",
        "torch.tensor([len(wav) // 160 for wav in wavs])",
        "[len(wav) / 160 for wav in wavs]",
        r"lengths are \[40.0, .* not whole",
    ),
    "short lengths": ("lengths", "len(wav) // 160 for", "len(wav) // 160 - 1 for", r"alone are \[39, .*\], but their states have \[40,"),
}
RANDOM = """
import torch
from torch import nn
from utility.features.waves import check_waves, pad_waves

class UpstreamExpert(nn.Module):
    stateless = True

    def __init__(self, ckpt=None, model_config=None, **kwargs):
        super().__init__()

    def get_downsample_rates(self, key):
        return 1

    def forward(self, wavs):
        padded = pad_waves(check_waves(wavs, 160))[..., None]
        return {"hidden_states": [padded + 1e-6 * torch.randn(1)]}
"""


@pytest.fixture
def page(tmp_path, capsys):
    """``page(text, *words)``: what the program says of an expert, and its exit status."""

    def read(text: str, *words: str) -> tuple[int, dict[str, tuple[str, str]]]:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "expert.py").write_text(text)
        status = check_upstream.main([str(tmp_path / "mine"), "--device", "cpu", *words])
        rows = re.findall(r"^  (ok|FAIL|--) +(\S.*?)   *(\S.*)$", capsys.readouterr().out, re.MULTILINE)
        return status, {name: (verdict, finding) for verdict, name, finding in rows}

    return read


def test_one_that_is_right(page):
    status, rows = page(RIGHT, "--scale", "0.5")
    assert status == 0 and list(rows) == list(CHECKS)
    assert {name for name, (verdict, _) in rows.items() if verdict != "ok"} == {"stateless"}
    assert rows["stateless"][0] == "--" and rows["last hidden state"][1] == "(1, 50, 6), state 1 of 2"
    assert rows["weighted sum"][1] == "frames [40, 50, 100, 123], 6 wide"
    assert rows["hidden states"][1] == "2 of (B, T, 6)" and rows["gradients"][1] == "reach 4 of 4 parameters"
    assert rows["lengths"][1] == "[40, 50, 100, 123], alone [40, 50, 100, 123]"


@pytest.mark.parametrize("check", WRONG)
def test_one_that_is_wrong(page, check):
    right, wrong, sentence = WRONG[check]
    assert right in RIGHT
    status, rows = page(RIGHT.replace(right, wrong))
    assert status == 1
    verdict, finding = rows[check]
    assert verdict == "FAIL" and re.search(sentence, finding), finding


@pytest.mark.parametrize("what", ALSO_WRONG)
def test_others_that_are_wrong(page, what):
    check, right, wrong, sentence = ALSO_WRONG[what]
    assert right in RIGHT
    status, rows = page(RIGHT.replace(right, wrong))
    assert status == 1
    verdict, finding = rows[check]
    assert verdict == "FAIL" and re.search(sentence, finding), finding


def test_random_numbers_in_what_claims_to_be_a_function_of_the_waveforms(page):
    _, rows = page(RANDOM)
    assert rows["stateless"][0] == "FAIL" and "two seeds differ by" in rows["stateless"][1]
    assert rows["random streams"][0] == rows["two calls"][0] == "FAIL"


def test_allowed_but_told(page):
    """States of several widths, of which one has to be chosen, and a last state that is none of them."""
    changed = RETURN.replace("states[-1], ", "states[-1] + 1, ").replace("states,", "[states[0], states[1][..., :4]],")
    status, rows = page(RIGHT.replace(RETURN, changed))
    assert status == 0 and rows["hidden states"][1] == "2 of (B, T, 4 or 6)"
    assert rows["weighted sum"][0] == "--" and "4 and 6 wide" in rows["weighted sum"][1]
    assert rows["last hidden state"] == ("ok", "(1, 50, 6), none of the hidden states")


def test_what_is_no_upstream_at_all(page):
    status, rows = page(RIGHT.replace(RETURN, "        return states\n"))
    assert status == 1 and rows["hidden states"] == ("FAIL", "the call returned a list, not a dict")


def test_what_is_left_over(page):
    """Two uses that are allowed are told: parameters that no gradient reaches, and missing keys."""
    text = RIGHT.replace(RETURN, '        return {"hidden_states": states[:1]}\n')
    status, rows = page(text)
    assert status == 0 and rows["lengths"][0] == rows["last hidden state"][0] == "--"
    assert rows["gradients"][1] == "reach 2 of 4 parameters; not layers.1.weight, layers.1.bias"


def test_a_caught_claim_only(page):
    """What depends on its batch is right as long as it does not claim otherwise."""
    right, wrong, _ = WRONG["batch"]
    status, rows = page(RIGHT.replace(right, wrong).replace("batch_independent = True", "batch_independent = False"))
    assert status == 0 and "batch_independent is False" in rows["batch"][1]


@pytest.mark.parametrize("name", ["fbank", "example", "mel"])
def test_the_built_in_ones(name, capsys):
    assert check_upstream.main([name, "--device", "cpu"]) == 0
    assert f"all {len(CHECKS)} checks passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fbnk"], "unknown upstream 'fbnk'; did you mean 'fbank'"),
        (["hf"], "needs the option ckpt (-k ORG/NAME or FOLDER)"),
        (["fbank", "-k", "x.pt"], "has no weights"),
        (["hf:no/where/at"], "there is no folder no/where/at"),
    ],
)
def test_mistakes(words, sentence, capsys):
    assert check_upstream.main([*words, "--device", "cpu"]) == 2
    assert sentence in capsys.readouterr().err


def test_it_is_a_program(repo):
    done = subprocess.run([sys.executable, "utility/check_upstream.py", "-h"], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "NAME:CKPT" in done.stdout
