"""Prints where a URL lies in the download cache, after downloading it if it is not there.

python3 utility/print_url_cache_path.py URL [--refresh] [--no_download] [--cache_dir FOLDER]
"""

from __future__ import annotations

import argparse

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import program
from utility.experiment.download import cached_path, fetch


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="print where a URL lies in the download cache")
    parser.add_argument("url")
    parser.add_argument("--refresh", action="store_true", help="download again")
    parser.add_argument("--no_download", action="store_true", help="only say where it would lie")
    parser.add_argument("--cache_dir", help="another cache folder")
    args = parser.parse_args(argv)
    print(cached_path(args.url, args.cache_dir) if args.no_download else fetch(args.url, args.refresh, cache=args.cache_dir))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
