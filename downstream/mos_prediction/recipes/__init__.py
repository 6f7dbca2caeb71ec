"""The stages of ``egs/<recipe>/run.sh`` and of the benchmark scripts; the scripts only call :mod:`.training` and :mod:`.benchmarks`."""
