#!/usr/bin/env bash
# Downloads and prepares Audio SNIPS below a folder: snips_prepare_data.sh CORPORA_DIR. What is there already is left alone.
exec "${PYTHON:-python3}" "$(dirname -- "${BASH_SOURCE[0]}")/snips_preprocess.py" all "$@"
