#!/bin/sh
# report.sh EXPDIR: what score.sh has found, once more.
exec "${PYTHON:-python3}" "$(dirname "$0")/../../utility/tune_diarization.py" "$@" --report
