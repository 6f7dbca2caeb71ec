#!/bin/sh
# score.sh EXPDIR KALDI_FOLDER_OF_TEST [KALDI_FOLDER_OF_DEV]: error rates of the predictions that -m evaluate -t test has left in EXPDIR.
if [ "$#" -lt 2 ]; then
    echo "usage: $0 EXPDIR KALDI_FOLDER_OF_TEST [KALDI_FOLDER_OF_DEV]" >&2
    exit 2
fi
exec "${PYTHON:-python3}" "$(dirname "$0")/../../utility/tune_diarization.py" "$1" "$2" ${3:+--dev "$3"}
