"""What can be compared, by name."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from rrra_training.evaluation.rerankers.of_haystack import read_ranker

KINDS = ("1bit", "int8", "float32")
# Names of times that are of no system.
_STAGES = ("retrieve", "rerank", *(f"rerank-{kind}" for kind in KINDS), "bm25 candidates")
NAMED = ("bm25", "maxsim", "match", "rrra", "untrained", "hybrid")


def check_systems(systems: Sequence[str], codes: Sequence[str] = ()) -> None:
    """
    See that every name is one that can be measured.

    :param systems: Names from ``bm25``, ``maxsim``, ``match``, ``rrra``, ``untrained`` and ``hybrid``, ``NAME=MODEL``
        for further models, and YAML files of rankers.
    :param codes: Kinds of token codes, the first of which the model's own systems are named without.
    :raises ValueError: If one is unknown, a file holds no ranker, or two systems would have the same name.
    :raises FileNotFoundError: If the file of a ranker is missing.
    """
    names = []
    for system in systems:
        if is_file(system):
            if not Path(system).is_file():
                msg = f"There is no file {system}. A ranker is named by a YAML file with its type and init_parameters."
                raise FileNotFoundError(msg)
            read_ranker(Path(system))
            names.append(Path(system).stem)
        elif "=" in system:
            name, _, source = system.partition("=")
            if not name or not source:
                msg = f"The system '{system}' lacks its name or its model. Write NAME=MODEL, as mine=runs/mine/model."
                raise ValueError(msg)
            names.append(name)
        elif system not in NAMED:
            near = difflib.get_close_matches(system, NAMED, n=1, cutoff=0)[0]
            msg = (
                f"Unknown system '{system}'; the nearest known one is '{near}'. Systems are {', '.join(NAMED)}, "
                "NAME=MODEL for a further model, or a YAML file of a Haystack ranker."
            )
            raise ValueError(msg)
        else:
            names.append(system)
    if "hybrid" in systems and codes and codes[0] == "float32":
        msg = "The system 'hybrid' reranks from codes. Name 1bit or int8 as the first --code."
        raise ValueError(msg)
    taken = [*names, *_implied(systems, codes), "encoder", *_STAGES]
    if twice := next((name for name in taken if taken.count(name) > 1), None):
        msg = (
            f"Two systems are called '{twice}', or it is a stage's name ({', '.join(_STAGES)}). Give each system "
            "a name of its own."
        )
        raise ValueError(msg)


def _implied(systems: Sequence[str], codes: Sequence[str]) -> list[str]:
    """Systems that come with others."""
    if not {"rrra", "match", "hybrid"} & set(systems):
        return []
    implied = [] if "rrra" in systems else ["rrra"]
    kinds = [f"-{kind}" for kind in codes[1:]]
    return implied + [f"{name}{kind}" for kind in kinds for name in ("rrra", "match")]


def is_file(system: str) -> bool:
    """Whether a system is named by the YAML file of a ranker."""
    return Path(system).suffix in {".yaml", ".yml"}


BASELINE = "encoder"
