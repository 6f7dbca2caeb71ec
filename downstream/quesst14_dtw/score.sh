#!/bin/sh
# score.sh RESULT_DIR GROUNDTRUTH_DIR [DEFAULT_SCORE]: as score-TWV-Cnxe.sh of QUESST 2014, without Java.
exec "${PYTHON:-python3}" "$(dirname "$0")/../../utility/score_detection.py" "$@"
