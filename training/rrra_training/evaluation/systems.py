"""What can be compared, by name."""

import difflib
import re
from collections.abc import Container, Sequence
from pathlib import Path

from rrra_haystack.model.codes.kinds import KINDS as CODE_KINDS
from rrra_training.evaluation.rerankers.of_haystack import read_ranker

# What retrieves, with which all is compared: the model's encoder, or BM25 for a late-interaction model, which has no
# embedding to retrieve by; and what the model makes of it.
ENCODER_SYSTEM, BM25_SYSTEM = "encoder", "bm25"
RRRA_SYSTEM = "rrra"
# After the name of a further model: what its encoder retrieves, if that is not the encoder of all others.
ENCODER_OF = f": {ENCODER_SYSTEM}"
KINDS = (*sorted(CODE_KINDS), "float32")
_NAMED = (BM25_SYSTEM, "maxsim", "match", RRRA_SYSTEM, "untrained", "hybrid")
# Systems that come from the model, which is measured if any of them is.
_OF_THE_MODEL = {RRRA_SYSTEM, "match", "hybrid"}
# Those of them that read its codes, and which kind.
_READS_CODES = re.compile(rf"(?:{RRRA_SYSTEM}|match)(-(?:{'|'.join(KINDS)}))?|hybrid")
# Names of times that are of no system.
_STAGES = ("retrieve", "rerank", *(f"rerank-{kind}" for kind in KINDS), "bm25 candidates")


def check_systems(systems: Sequence[str], codes: Sequence[str] = ()) -> None:
    """
    See that every name is one that can be measured.

    :param systems: Names from ``bm25``, ``maxsim``, ``match``, ``rrra``, ``untrained`` and ``hybrid``, ``NAME=MODEL``
        for further models, and YAML files of rankers.
    :param codes: Kinds of token codes, the first of which the model's own systems are named without.
    :raises ValueError: If one is unknown, a file holds no ranker, or two systems would have the same name.
    :raises FileNotFoundError: If the file of a ranker is missing.
    """
    names = [_checked_name(system) for system in systems]
    if "hybrid" in systems and codes and codes[0] == "float32":
        msg = "The system 'hybrid' reranks from codes. Name 1bit, 2bit, 4bit or int8 as the first --code."
        raise ValueError(msg)
    taken = [*names, *_implied(systems, codes), ENCODER_SYSTEM, *_STAGES]
    if twice := next((name for name in taken if taken.count(name) > 1), None):
        msg = (
            f"Two systems are called '{twice}', or it is a stage's name ({', '.join(_STAGES)}). Give each system "
            "a name of its own."
        )
        raise ValueError(msg)


def _checked_name(system: str) -> str:
    """What a system that was asked for will be called."""
    if is_ranker(system):
        if not Path(system).is_file():
            msg = f"There is no file {system}. A ranker is named by a YAML file with its type and init_parameters."
            raise FileNotFoundError(msg)
        read_ranker(Path(system))
        return Path(system).stem
    if "=" in system:
        name, _, source = system.partition("=")
        if not name or not source:
            msg = f"The system '{system}' lacks its name or its model. Write NAME=MODEL, as mine=runs/mine/model."
            raise ValueError(msg)
        return name
    if system not in _NAMED:
        near = difflib.get_close_matches(system, _NAMED, n=1, cutoff=0)[0]
        msg = (
            f"Unknown system '{system}'; the nearest known one is '{near}'. Systems are {', '.join(_NAMED)}, "
            "NAME=MODEL for a further model, or a YAML file of a Haystack ranker."
        )
        raise ValueError(msg)
    return system


def _implied(systems: Sequence[str], codes: Sequence[str]) -> list[str]:
    """Systems that come with others."""
    if not needs_model(systems):
        return []
    implied = [] if RRRA_SYSTEM in systems else [RRRA_SYSTEM]
    return implied + [f"{name}{suffix}" for suffix in code_suffixes(codes)[1:] for name in (RRRA_SYSTEM, "match")]


def code_suffixes(codes: Sequence[str]) -> list[str]:
    """What stands behind the name of the model's own systems, of each kind of codes that was asked for."""
    return ["" if number == 0 else f"-{kind}" for number, kind in enumerate(codes)]


def is_ranker(system: str) -> bool:
    """Whether a system is named by the YAML file of a ranker."""
    return Path(system).suffix in {".yaml", ".yml"}


def named_models(systems: Sequence[str]) -> dict[str, str]:
    """The further models among systems: name -> model."""
    pairs = [system.partition("=") for system in systems if "=" in system and not is_ranker(system)]
    return {name: source for name, _, source in pairs}


def only_models(options: Sequence[str]) -> dict[str, str]:
    """
    Models by their names, of options that name nothing else.

    :param options: ``NAME=MODEL`` each.
    :raises ValueError: If one names a system, has no name, or has that of another.
    """
    check_systems(options)
    if nameless := next((one for one in options if "=" not in one or is_ranker(one)), None):
        msg = f"The model '{nameless}' has no name. Write NAME=MODEL, as mpnet=all-mpnet-base-v2."
        raise ValueError(msg)
    return named_models(options)


def needs_model(systems: Sequence[str]) -> bool:
    """Whether the model itself is among what is measured."""
    return not _OF_THE_MODEL.isdisjoint(systems)


def baseline_of(measured: Container[str]) -> str:
    """
    With which of the systems all others are compared.

    :param measured: Names of what was measured.
    """
    return ENCODER_SYSTEM if ENCODER_SYSTEM in measured else BM25_SYSTEM


def time_key(system: str) -> str:
    """
    Under which key ``latency_ms`` holds the times of a reranker.

    :param system: A system's name.
    """
    is_own = system == RRRA_SYSTEM or system.startswith(f"{RRRA_SYSTEM}-")
    return system.replace(RRRA_SYSTEM, "rerank", 1) if is_own else system


def code_key(system: str) -> str:
    """
    Under which key ``bytes_per_document`` holds the token codes that a system reads, or its token states.

    :param system: A system's name.
    """
    if system == "maxsim":
        return "states maxsim"
    own = _READS_CODES.fullmatch(system)
    return f"codes{own[1] or ''}" if own else f"codes {system}"
