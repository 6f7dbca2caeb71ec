#!/bin/sh
# test_expdirs.sh EXPDIR [EXPDIR ...] [-- OPTION ...]: evaluates each checkpoint that has no result yet.
root=$(cd "$(dirname "$0")/../.." && pwd) || exit
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m downstream.sv_voxceleb1.evaluate_states "$@"
