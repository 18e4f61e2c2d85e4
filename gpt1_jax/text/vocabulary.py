"""Check the vocabulary and the merges of a byte-pair encoding that a file holds."""

from collections.abc import Iterable, Mapping
from typing import Any

UNKNOWN = "<unk>"
SPECIALS = ("_start_", "_delimiter_", "_classify_")
HEADER = "#version"  # begins the first line of a file of merges


def check(vocab: Mapping[str, int]) -> None:
    """Check the ids of a vocabulary.

    Raises:
        ValueError: the ids are not 0, 1, 2, ..., 0 is not `<unk>`, or a special token is a piece.
    """
    if any(type(number) is not int for number in vocab.values()):
        raise ValueError("has an id that is not a whole number")
    if sorted(vocab.values()) != list(range(len(vocab))) or vocab.get(UNKNOWN) != 0:
        raise ValueError(f"ids are not 0 to {len(vocab) - 1} with {UNKNOWN} as 0")
    for token in SPECIALS:
        if token in vocab:
            raise ValueError(f"{token} is among the pieces, but finetuning adds it")


def check_model(model: Any) -> None:
    """Check the field "model" of a tokenizer.json.

    Raises:
        ValueError: it is not a BPE, draws merges at random, has another token for unknown
            characters, or see `check`.
    """
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise ValueError("holds no vocabulary of a BPE")
    if not all(type(number) is int for number in model["vocab"].values()):
        raise ValueError("has an id that is not a whole number")
    check(model["vocab"])
    if model.get("dropout"):
        raise ValueError(f"has BPE dropout {model['dropout']}, which gives other ids every time")
    if model.get("unk_token") != UNKNOWN:
        raise ValueError(f"has the unknown token {model.get('unk_token')!r}, not {UNKNOWN}")


def parse_merges(text: str) -> list[tuple[str, str]]:
    r"""Return the pairs of pieces in the order of their merges from the text of a merges.txt.

    The first line names the format. Only "\n" or "\r\n" ends a line, and only one space separates
    the pieces, because a piece may hold any other white space. Empty lines are skipped.

    Raises:
        ValueError: a line is not two pieces.
    """
    lines = text.split("\n")
    if all(line.endswith("\r") for line in lines[:-1]):
        lines = [line.removesuffix("\r") for line in lines]
    first = int(lines[0].startswith(HEADER))
    return [
        _pair(f"line {number}", line.split(" "))
        for number, line in enumerate(lines[first:], first + 1)
        if line
    ]


def stored_merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the pairs of pieces in the field "model" of a tokenizer.json.

    Raises:
        ValueError: an entry is not two pieces.
    """
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise ValueError("holds no list of merges")
    return [
        _pair(f"merge {number}", entry.split(" ") if isinstance(entry, str) else entry)
        for number, entry in enumerate(merges)
    ]


def _pair(where: str, pieces: Any) -> tuple[str, str]:
    valid = isinstance(pieces, list) and all(isinstance(piece, str) and piece for piece in pieces)
    if not valid or len(pieces) != 2:
        raise ValueError(f"{where} is not two BPE pieces with one space between them")
    return tuple(pieces)


def check_added(added: Iterable[Mapping[str, Any]], ids: Mapping[str, int]) -> None:
    """Check the field "added_tokens" of a tokenizer.json.

    Args:
        added: the entries.
        ids: the ids that the library gives to them.

    Raises:
        ValueError: the file gives a token another id than the library.
    """
    for token in added:
        name, number = token["content"], token["id"]
        if ids.get(name) != number:
            raise ValueError(f"gives the added token {name} the id {number}, not {ids.get(name)}")
