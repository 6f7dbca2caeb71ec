#!/bin/sh
# report.sh EXPDIR: the evaluated checkpoints, the best one last.
root=$(cd "$(dirname "$0")/../.." && pwd) || exit
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m downstream.sv_voxceleb1.report "$@"
