"""Models of torchaudio.pipelines by the name of their bundle. torchaudio is imported in here alone, when one is asked for."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch import nn

from utility.errors import CheckpointError, MissingDependencyError, ToolkitError, UnknownNameError

RATE = 16000


def load_bundle(name: str) -> tuple[nn.Module, bool]:
    """The model of a bundle with its weights, from torch.hub's cache or downloaded into it, and whether it takes normalised waveforms.

    Draws no random number; nothing in the weights is executed.

    Raises:
        UnknownNameError: torchaudio has no such bundle.
        CheckpointError: the weights cannot be had, or do not fit.
        MissingDependencyError: there is no torchaudio; ToolkitError: it does not work beside this torch.
    """
    pipelines = _pipelines()
    known = {key: value for key, value in vars(pipelines).items() if isinstance(value, pipelines.Wav2Vec2Bundle)}
    if name not in known:
        raise UnknownNameError("torchaudio bundle", name, known)
    bundle = known[name]
    if int(bundle.sample_rate) != RATE:
        raise CheckpointError(f"the torchaudio bundle {name} is made for audio at {bundle.sample_rate} Hz; this upstream takes {RATE} Hz")
    try:
        with torch.random.fork_rng(devices=[]):
            made = bundle.get_model(dl_kwargs={"map_location": "cpu", "weights_only": True})
    except OSError as error:
        raise CheckpointError(
            f"the weights of the torchaudio bundle {name} are not in {torch.hub.get_dir()} and cannot be downloaded: {error}"
        ) from error
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        told = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the weights of the torchaudio bundle {name} in {torch.hub.get_dir()} are damaged: {told}") from error
    model = getattr(made, "model", made)  # where it normalises, it does so around the model, over a whole batch with its padding
    model.aux = None
    return model, bool(getattr(made, "normalize_waveform", False))


def _pipelines() -> Any:
    try:
        import torchaudio.pipelines as pipelines
    except ImportError as error:
        raise MissingDependencyError("torchaudio", "a bundle of torchaudio") from error
    except (OSError, RuntimeError) as error:  # a wheel for another build of torch
        raise ToolkitError(f"torchaudio does not work beside torch {torch.__version__}: {' '.join(str(error).split())[:200]}") from error
    return pipelines
