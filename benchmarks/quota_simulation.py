"""100 images against every kind of rate limiter, on a virtual clock: the real
`mai.rate_limit.RateLimiter` beside the usual ways.

`python -m mai_image.benchmarks.quota_simulation [--quotas 2,12,60,90] [--seeds 5]` prints, as
median/worst over the seeds (latencies and phases of fixed windows), the makespan over the best
possible one and the number of refusals per 100 images.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from rate_limit_simulation import misses, ours, simulate
from simulated_servers import KINDS
from simulated_service import Case, Outcome
from usual_policies import USUAL, Policy

QUOTAS = (2, 12, 60, 90)
COMPARED = 60
"""The quota, requests a minute, at which all policies are set side by side."""


def _cell(outcomes: Sequence[Outcome], mark: bool = False) -> str:
    ratios = [each.ratio for each in outcomes]
    refusals = [each.refusals for each in outcomes]
    failed = max(each.failed for each in outcomes)
    if failed:
        return f"{failed} fail, {max(refusals)}"
    text = f"{statistics.median(ratios):.2f}/{max(ratios):.2f}"
    return f"{text}, {statistics.median(refusals):.0f}/{max(refusals)}{' !' if mark else ''}"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [title, "", f"{'':34}" + "".join(f"{column:>22}" for column in columns)]
    lines += [f"{row[0]:34}" + "".join(f"{cell:>22}" for cell in row[1:]) for row in rows]
    return "\n".join(lines) + "\n"


def by_kind(quotas: Sequence[int], seeds: int, known: bool) -> str:
    """This policy against every kind of server; "!" where a run missed an aim."""
    rows = []
    for kind in KINDS:
        row = [kind]
        for quota in quotas:
            cases = [Case(kind, quota, known, seed) for seed in range(seeds)]
            outcomes = [simulate(case) for case in cases]
            row.append(_cell(outcomes, any(map(misses, cases, outcomes))))
        rows.append(row)
    title = f"Limit {'known' if known else 'unknown'}: time / bound, refusals (median/worst)"
    return _table(title, [f"{quota} a minute" for quota in quotas], rows)


def side_by_side(quota: int, seeds: int) -> str:
    """Every policy against every kind of server, at one quota that is known."""
    rows = []
    policies: dict[str, Policy] = {**USUAL, "this one": ours}
    for kind in KINDS:
        for name, policy in policies.items():
            outcomes = [simulate(Case(kind, quota, seed=seed), policy) for seed in range(seeds)]
            rows.append([f"{kind}", name, _cell(outcomes)])
    lines = [f"At {quota} a minute, limit known: time / bound, refusals (median/worst)", ""]
    lines += [f"{kind:24}{name:36}{cell:>22}" for kind, name, cell in rows]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quotas", default=",".join(map(str, QUOTAS)), help="requests a minute")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each case")
    parser.add_argument(
        "--compared", type=int, default=COMPARED, help="quota of the comparison, 0: none"
    )
    arguments = parser.parse_args(argv)
    quotas = [int(each) for each in arguments.quotas.split(",")]
    for known in (True, False):
        sys.stdout.write(by_kind(quotas, arguments.seeds, known) + "\n")
        sys.stdout.flush()
    if arguments.compared:
        sys.stdout.write(side_by_side(arguments.compared, arguments.seeds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
