#!/usr/bin/env bash
# Repeats a command; a training until it is complete. The rules are in utility/run_while.py and `./run_while.sh --help`.
exec python3 "$(dirname -- "${BASH_SOURCE[0]}")/utility/run_while.py" "$@"
