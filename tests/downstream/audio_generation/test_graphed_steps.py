"""Steps that are recorded once and repeated: on a GPU as CUDA graphs, here by a tape that stands for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from downstream.audio_generation.generation.drawing import Drawing, Uniforms
from downstream.audio_generation.generation.loop import Loop
from downstream.audio_generation.models import graphed as graphs
from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.graphed import Graphed, Settled
from downstream.audio_generation.models.sashimi_step import PlainSteps
from tests.downstream.audio_generation.families import SMALL
from tests.downstream.audio_generation.stepping import ZERO, stepped

FAMILIES = ("sashimi", "unet", "samplernn", "wavenet")
CPU = torch.device("cpu")
RECORDED = {"SashimiBackbone": "linear", "UnetBackbone": "linear", "SampleRNN": None, "WaveNet": "plain"}
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


class Tape(TorchDispatchMode):
    """Notes operations with the tensors that they read and write, as a CUDA graph does; :meth:`play` repeats them on the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.notes.append((operation, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def play(self) -> None:
        for operation, args, kwargs, result in self.notes:
            for mine, new in zip(tree_leaves(result), tree_leaves(operation(*args, **kwargs)), strict=True):
                if isinstance(mine, torch.Tensor) and mine is not new and mine.data_ptr() != new.data_ptr():
                    mine.copy_(new)


class Tapes:
    """A :class:`graphed.Recorder` of tapes."""

    def warm(self, run: Callable[[], None]) -> None:
        run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        with Tape() as tape:
            run()
        return tape.play


def model_of(family: str):
    """A small network none of whose weights is at its first value."""
    torch.manual_seed(0)
    model = build(SMALL[family]).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def steps_of(model, batch: int):
    """What a GPU would record, here."""
    return model._steps(batch, RECORDED[type(model.model).__name__])


@pytest.mark.parametrize("family", FAMILIES)
def test_repeated_steps_equal_plain_ones(family):
    model, ids = model_of(family), torch.randint(256, (2, 50))
    found = Graphed(steps_of(model, 2), 2, CPU, Tapes())
    wanted = stepped(steps_of(model, 2), ids)
    torch.testing.assert_close(stepped(found, ids), wanted, rtol=1e-5, atol=1e-6)
    stepped(found, ids[:, :5])  # stops in the midst of a period
    torch.testing.assert_close(stepped(found, ids), wanted, rtol=1e-5, atol=1e-6)


def test_a_warm_start_is_repeated_too():
    model, ids = model_of("wavenet"), torch.randint(256, (2, 20))
    found = Graphed(steps_of(model, 2), 2, CPU, Tapes())
    wanted = stepped(found, ids)
    found.warm()
    torch.testing.assert_close(torch.stack([found.step(codes) for codes in ids.T], 1), wanted)
    assert not hasattr(Graphed(steps_of(model_of("sashimi"), 2), 2, CPU, Tapes()), "warm")


def test_a_step_that_does_not_settle_is_not_repeated_rightly():
    """The tape finds what a graph would do wrong."""
    model, ids = model_of("sashimi"), torch.randint(256, (2, 50))
    steps = steps_of(model, 2)
    steps._settled = lambda state: state
    found = Graphed(steps, 2, CPU, Tapes())
    assert not torch.allclose(stepped(found, ids), stepped(steps_of(model, 2), ids), rtol=1e-2, atol=1e-2)


def test_a_state_keeps_its_place():
    settled, old = Settled(), [torch.arange(3.0), [torch.tensor([1.0]), torch.tensor([2.0])], None]
    first = settled(old)
    moved = settled([first[0] + 1, first[1][1:], None])
    assert moved[0] is first[0] and moved[1][0] is first[1][0] and moved[2] is None
    assert (moved[0].tolist(), [value.item() for value in moved[1]]) == ([1, 2, 3], [2])
    assert old[0].tolist() == [0, 1, 2]


def test_plain_steps_allocate_no_state_after_a_period():
    model = model_of("sashimi")
    steps = steps_of(model, 2)
    assert isinstance(steps, PlainSteps)
    places = []
    for moment in range(2 * steps.period):
        steps.step(torch.tensor([moment, 7]))
        places.append([value.data_ptr() for value in tree_leaves(steps.state) if value is not None])
    assert places[: steps.period] == places[steps.period :]


@pytest.fixture
def said(monkeypatch, caplog) -> Callable[[], list[str]]:
    graphs._say.cache_clear()
    yield lambda: [record.getMessage() for record in caplog.records]
    graphs._say.cache_clear()


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda steps: setattr(steps, "period", 1000), "they repeat themselves every 1000 steps"),
        (lambda steps: delattr(steps, "period"), "PlainSteps keeps its state in changing places"),
        (lambda steps: None, "out of memory"),
    ],
)
def test_what_cannot_be_recorded_is_said_once_and_steps_plainly(prepare, sentence, said, monkeypatch):
    class Failing(Tapes):
        def __init__(self, device):
            pass

        def record(self, run):
            run()
            raise RuntimeError("out of memory\nand many details")

    monkeypatch.setattr(graphs, "CudaGraphs", Failing)
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.no_grad())
    monkeypatch.setattr(torch, "zeros", lambda *sizes, device=None, zeros=torch.zeros, **options: zeros(*sizes, **options))
    model, ids = model_of("sashimi"), torch.randint(256, (2, 20))
    for _ in range(2):
        steps = steps_of(model, 2)
        prepare(steps)
        assert graphs.graphed(steps, 2, torch.device("cuda")) is steps
    assert said() == [f"[Generation] - steps are not replayed as CUDA graphs, which is slower: {sentence}"]
    first = torch.stack([steps.step(codes).clone() for codes in ids.T], 1)  # it begins anew
    torch.testing.assert_close(first, stepped(steps_of(model, 2), ids))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation")  # cumulative sums, in the mode that the Runner sets
@pytest.mark.parametrize("prefix", [0, 20])
@pytest.mark.parametrize("family", FAMILIES)
def test_generation_by_graphs_equals_that_by_plain_steps(family, prefix, said):
    model = model_of(family).cuda()
    given = torch.randint(256, (3, prefix), device="cuda") if prefix else None
    if prefix:
        given[:, 0] = ZERO
    found = []
    for steps in (model.stepper(3), steps_of(model, 3)):
        logits: list[torch.Tensor] = []
        numbers = Uniforms([(0, stream) for stream in range(3)], "cuda")
        keep = lambda one, drawn, logits=logits: logits.append(one.clone())  # noqa: E731
        codes, likelihoods = Loop(Drawing(), ZERO)(steps, numbers, 100, 3, given, "cuda", keep)
        found.append((type(steps), codes, likelihoods, torch.stack(logits)))
    (kind, codes, likelihoods, logits), (plain, *wanted) = found
    assert (kind is Graphed, plain is Graphed, said()) == (True, False, [])
    torch.testing.assert_close(logits, wanted[2], **CLOSE)
    assert torch.equal(codes, wanted[0])
    torch.testing.assert_close(likelihoods, wanted[1], rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_graphs_equal_the_steps_of_a_cpu_after_resets(family):
    model, ids = model_of(family), torch.randint(256, (2, 50))
    wanted = stepped(steps_of(model, 2), ids)
    steps = model.cuda().stepper(2)
    assert isinstance(steps, Graphed)
    for length in (7, 50, 50):
        steps.reset()
        for _ in range(steps.warm_up):
            steps.step(torch.full((2,), ZERO, device="cuda"))
        found = torch.stack([steps.step(codes) for codes in ids[:, :length].cuda().T], 1)
        torch.testing.assert_close(found.cpu(), wanted[:, :length], **CLOSE)
