#!/bin/sh
# run.sh --stage N --stop_stage N [--name VALUE ...]: trains by the recipe in the working directory; --help lists the options.
root=$(cd "$(dirname "$(readlink -f "$0")")/../../.." && pwd) || exit
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m downstream.mos_prediction.recipes.training "$@"
