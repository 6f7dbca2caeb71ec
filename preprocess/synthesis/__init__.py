"""Small corpora in official layouts, spoken by espeak-ng.

    engine        espeak-ng through ctypes: text and voice in, waveform and timed phones out
    voices        who speaks: disjoint pools of speakers for train, dev and test
    noise         background noises and mixing at a signal-to-noise ratio
    phones        espeak's phoneme names to ARPAbet
    texts         sentences
    build         folders, interruption, processes
    <corpus>      one file per corpus, listed in ``CORPORA``

Everything that is random is a function of the seed and of names (``generator``), never of the order of work or of the corpus' size: the
speakers of a small corpus are the first speakers of a larger one.
"""
