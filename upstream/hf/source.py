"""Where a Hugging Face model lies: a folder, or a repository of the hub, of which only the files that are needed come into its cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from utility.errors import CheckpointError

SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin")
_HUB = "https://huggingface.co/"
_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\w[\w./-]*))?", re.ASCII)


@dataclass(frozen=True)
class Source:
    """A model by what the user calls it.

    Args:
        name: what was given.
        folder: the local folder, or None.
        repo: ``ORG/NAME`` on the hub, where it is no folder.
        revision: branch, tag or commit.
        refresh: download again.
    """

    name: str
    folder: Path | None = None
    repo: str = ""
    revision: str | None = None
    refresh: bool = False

    @classmethod
    def of(cls, ckpt: str | Path, refresh: bool = False) -> Source:
        """From a folder, ``ORG/NAME``, ``ORG/NAME@REVISION`` or the address of a model's page.

        Raises:
            CheckpointError: it is none of these.
        """
        name, path = str(ckpt), Path(ckpt).expanduser()
        if path.is_dir():
            return cls(name, folder=path)
        if path.is_file():
            raise CheckpointError(f"{name} is a file; this upstream takes the folder of a Hugging Face model, or ORG/NAME on the hub")
        match = _ID.fullmatch(name.removeprefix(_HUB).rstrip("/"))
        if match is None:
            raise CheckpointError(f"there is no folder {name}, and a model of the Hugging Face hub is ORG/NAME or ORG/NAME@REVISION")
        return cls(name, repo=match["repo"], revision=match["revision"], refresh=refresh)

    def settings(self) -> Path:
        """The folder with the settings; of the hub, nothing else is downloaded.

        Raises:
            CheckpointError: the hub has no such model, or it is neither cached nor to be had.
        """
        return self.folder or self._fetched(SETTINGS, self.revision)

    def weights(self) -> Path:
        """The folder with settings and weights, of the hub as safetensors if it has them.

        Raises:
            CheckpointError: as :meth:`settings`.
        """
        if self.folder:
            return self.folder
        commit = self.settings().name  # of one commit, should the branch move in between
        folder = self._fetched((*SETTINGS, *SAFE_WEIGHTS), commit)
        if not list(folder.glob("*.safetensors")):
            folder = self._fetched((*SETTINGS, *PICKLED_WEIGHTS), commit)
        return folder

    def _fetched(self, patterns: tuple[str, ...], revision: str | None) -> Path:
        import huggingface_hub
        from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

        try:
            found = huggingface_hub.snapshot_download(
                self.repo, revision=revision, allow_patterns=list(patterns), force_download=self.refresh
            )
        except LocalEntryNotFoundError as error:
            raise CheckpointError(
                f"{self.name} is no local folder, is not in the cache {huggingface_hub.constants.HF_HUB_CACHE}, and the Hugging Face hub "
                "cannot be reached"
            ) from error
        except RepositoryNotFoundError as error:
            raise CheckpointError(
                f"{self.name} is no local folder, and the Hugging Face hub shows no model of this name "
                "(private and gated ones need `hf auth login`)"
            ) from error
        except RevisionNotFoundError as error:
            raise CheckpointError(f"the model {self.repo} of the Hugging Face hub has no revision {revision!r}") from error
        except (OSError, ValueError, HTTPError) as error:
            raise CheckpointError(f"cannot get {self.name} from the Hugging Face hub: {first_line(error)}") from error
        return Path(found)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
