"""Rates the batches of a listening test in the browsers of this machine or network, without MTurk.

    python3 serve.py final/CONDITION --template music
    python3 mos.py final/CONDITION_batch_results.csv --batches final/

Raters open the address that is printed, give a name, and answer batch after batch. The results have the columns of MTurk's files; a
server that is stopped and started again goes on where it was.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
import signal
from pathlib import Path

from downstream.audio_generation.mturk.hits import check_recordings, identity_of, read_hits
from downstream.audio_generation.mturk.pages import PAGES
from downstream.audio_generation.mturk.rating import Ratings
from downstream.audio_generation.mturk.server import RatingServer
from utility.errors import UsageError, program


def serving(args: argparse.Namespace) -> RatingServer:
    """The server, bound to its address.

    Raises:
        DataError: the batches or some of their recordings are not there, or the results are of another test.
        UsageError: the address is not to be had.
    """
    hits = read_hits(args.folder)
    check_recordings(args.folder, hits)
    page = PAGES[args.template](len(hits[0].urls))
    results = args.results or args.folder.with_name(f"{args.folder.name}_batch_results.csv")
    ratings = Ratings(hits, page, results, args.raters, identity_of(args.folder))
    try:
        return RatingServer((args.host, args.port), args.folder, ratings)
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen at {args.host}:{args.port}: {error}") from error


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program until Ctrl-C; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="CONDITION", help="what turk_create_batch.py wrote")
    parser.add_argument("--template", required=True, choices=sorted(PAGES), help="the questions")
    parser.add_argument("--results", type=Path, help="csv file (default: <CONDITION>_batch_results.csv beside the folder)")
    parser.add_argument("--raters", type=int, help="answers that each batch needs (default: all raters may answer all batches)")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines of the network in (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free (default: 8000)")
    args = parser.parse_args(argv)
    args.folder = args.folder.absolute()
    if args.raters is not None and args.raters < 1:
        raise UsageError(f"--raters must be at least 1, not {args.raters}")
    with serving(args) as server:
        for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell that started it in the background ignores the first
            signal.signal(number, signal.default_int_handler)
        print(f"rate at http://{args.host}:{server.server_port}/ (Ctrl-C ends); results: {server.ratings.results}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(f"answers: {len(server.ratings.entries)}, in {server.ratings.results}")
        finally:
            server.ratings.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
