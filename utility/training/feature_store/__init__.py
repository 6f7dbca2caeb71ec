"""Hidden states of a frozen upstream, kept on disk and read back memory-mapped.

Of a folder, each subfolder holds what one upstream gives in one way of computing it (:mod:`.fingerprint`), one file an utterance
(:mod:`.entry`), named by the digest of its samples. Several processes may use a folder at once (:mod:`.shelf`); which of them live is seen
from locks (:mod:`.presence`).
"""

from utility.training.feature_store.entry import Entry, batch_of
from utility.training.feature_store.fingerprint import fingerprint, samples_digest
from utility.training.feature_store.repetition import repeats
from utility.training.feature_store.shelf import Shelf

__all__ = ["Entry", "Shelf", "batch_of", "fingerprint", "repeats", "samples_digest"]
