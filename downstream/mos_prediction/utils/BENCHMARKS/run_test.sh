#!/bin/sh
# run_SET_test.sh --stage N --stop_stage N [--name VALUE ...], get_all_benchmarks.sh, run_all_benchmarks.sh: links to this file, whose names
# say what to do, in the folder of the recipe that was trained; --help lists the options.
root=$(cd "$(dirname "$(readlink -f "$0")")/../../../.." && pwd) || exit
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m downstream.mos_prediction.recipes.benchmarks "$(basename "$0" .sh)" "$@"
