"""Makes the toolkit importable for the programs beside this file.

``python3 downstream/audio_generation/mturk/x.py`` puts that folder on the import path, not the repository. A program therefore begins
with::

    if __package__ in (None, ""):
        import _root  # noqa: F401
"""

import site
from pathlib import Path

site.addsitedir(str(Path(__file__).resolve().parents[3]))
