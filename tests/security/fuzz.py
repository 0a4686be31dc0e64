"""Fuzz the client: python tests/security/fuzz.py [--count 100000] [--target NAME] [--atheris].

Every case that ends in something other than a result or a MaiError is shrunk and printed; the exit
code is then 1. With --atheris (pip install atheris; Linux) one target is driven by coverage.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
sys.path.insert(0, str(ROOT / "tests" / "support"))

if "--atheris" in sys.argv:
    import atheris

    with atheris.instrument_imports(include=["mai_image"]):
        import fuzzing
else:
    import fuzzing

from hypothesis import HealthCheck, Phase, settings  # noqa: E402

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)


def main() -> int:
    """Run the cases; 0 when every one ended as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="cases in all")
    parser.add_argument("--target", choices=fuzzing.TARGETS, help="this target alone")
    parser.add_argument("--atheris", action="store_true", help="coverage-guided, one target")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.atheris:
        return by_coverage(options.target or "answers", options.count)
    names = [options.target] if options.target else list(fuzzing.TARGETS)
    whole = sum(fuzzing.TARGETS[name][1] for name in names)
    return max(
        [run(name, round(options.count * fuzzing.TARGETS[name][1] / whole)) for name in names]
    )


def run(name: str, count: int) -> int:
    """Fuzz one target; 1 when a case failed."""
    started = time.monotonic()
    target, _ = fuzzing.TARGETS[name]
    fuzz = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )(target)
    try:
        fuzz()
    except Exception:  # noqa: BLE001 (whatever a target raises is what is looked for)
        traceback.print_exc()
        failed = 1
    else:
        failed = 0
    seconds = time.monotonic() - started
    sys.stdout.write(f"{name}: {count} cases, {seconds:.0f} s, {'FAILED' if failed else 'ok'}\n")
    sys.stdout.flush()
    return failed


def by_coverage(name: str, count: int) -> int:
    """Let atheris choose the cases; it ends the process by itself."""
    target, _ = fuzzing.TARGETS[name]
    atheris.Setup([sys.argv[0], f"-runs={count}"], target.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
