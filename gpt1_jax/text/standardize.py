r"""The published clean-up, as steps of the `tokenizers` library, so that it runs in Rust and is stored in tokenizer.json.

The original pipeline is ftfy -> text_standardize -> spaCy -> lower case (openai/finetune-transformer-lm, text_utils.py). The parts
kept here are the ones that decide ids on well-encoded text: composed characters and straight quotes (what ftfy does to such text),
the dashes, ellipses, accents and the separated runs of text_standardize (its slip included: the backslash is not separated),
newlines as a token of their own, lower case. spaCy's rules are approximated by `WORDS`: signs stand alone, of which only dashes,
tildes, slashes and bars form runs; so do English contractions, full stops outside numbers other than those of initials and the
commonest titles, and any other punctuation. `published.py` has the pipeline itself; `tests/benchmarks/openai_tokens.py` says how often
the two agree.
"""

from tokenizers import Regex, normalizers, pre_tokenizers

# Character for character, before anything else.
CHARACTERS = (
    ("[\u2014\u2013\u2015]", "-"),  # em dash, en dash, horizontal bar
    ("\u2026", "..."),
    ("[\u00b4\u2018\u2019]", "'"),  # acute accent; curly quotes are ftfy's part
    ("[\u201c\u201d]", '"'),
    (r"\s*\n\s*", "\n"),
)

SEPARATED = r"""-+|~+|/+|[|]+|[!";?+,)(*\[\]}{_]"""
SHORT = r"(?<!\w)(?:mrs?|dr|st|messrs|[a-z])\."
CONTRACTED = r"(?<!\w)can(?=not\b)|(?<=[a-z])n't\b|'(?:s|re|ve|ll|d|m)\b|(?<![a-z])'em\b"
WORDS = rf"\n|{SEPARATED}|{SHORT}|\.+(?!\d)|{CONTRACTED}|(?<![a-z])'|'(?![a-z])|[^\w\s\\.']"


def normalizer() -> normalizers.Normalizer:
    """Text -> text: NFC, the replacements of `CHARACTERS`, lower case. Ends are not stripped (see `bpe.Tokenizer.encode`)."""
    replacements = [normalizers.Replace(Regex(pattern), content) for pattern, content in CHARACTERS]
    return normalizers.Sequence([normalizers.NFC(), *replacements, normalizers.Lowercase()])


def pre_tokenizer(backslash_in_word: bool = True) -> pre_tokenizers.PreTokenizer:
    """Text -> words: white space separates and is dropped, except the newline, which is a word; then the runs of `WORDS`.

    Args:
        backslash_in_word: the slip is kept; otherwise the backslash is separated as its neighbours in the published pattern are.
    """
    words = WORDS if backslash_in_word else rf"\\+|{WORDS}"
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\S\n]+"), behavior="removed"),
            pre_tokenizers.Split(Regex(words), behavior="isolated"),
        ]
    )
