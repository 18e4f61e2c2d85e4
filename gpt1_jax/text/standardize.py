r"""Clean up texts and split them into words by steps of the `tokenizers` library.

The library runs these steps in Rust and stores them in tokenizer.json. They approximate the
published pipeline, ftfy -> text_standardize -> spaCy -> lower case (openai/finetune-transformer-lm,
text_utils.py), which `openai_pipeline.py` implements. The steps are those that decide ids on
well-encoded text:

    ftfy              composed characters and straight quotes
    text_standardize  dashes, ellipses and accents; separated runs of signs, with the original's
                      slip of not separating the backslash; newlines as a token
    spaCy             approximated by `WORDS`. Each punctuation mark is a word, and so is each run
                      of dashes, tildes, slashes or bars. English contractions are split off. A
                      full stop stays in its word in numbers, initials and the commonest titles.
    lower case

`tests/benchmarks/openai_tokens.py` measures how often the two pipelines agree.
"""

from tokenizers import Regex, normalizers, pre_tokenizers

# Pattern -> replacement, applied before anything else.
CHARACTERS = (
    ("[\u2014\u2013\u2015]", "-"),  # em dash, en dash, horizontal bar
    ("\u2026", "..."),
    ("[\u00b4\u2018\u2019]", "'"),  # acute accent; ftfy straightens the curly quotes
    ("[\u201c\u201d]", '"'),
    (r"\s*\n\s*", "\n"),
)

SEPARATED = r"""-+|~+|/+|[|]+|[!";?+,)(*\[\]}{_]"""
ABBREVIATION = r"(?<!\w)(?:mrs?|dr|st|messrs|[a-z])\."
CONTRACTION = r"(?<!\w)can(?=not\b)|(?<=[a-z])n't\b|'(?:s|re|ve|ll|d|m)\b|(?<![a-z])'em\b"
WORDS = rf"\n|{SEPARATED}|{ABBREVIATION}|\.+(?!\d)|{CONTRACTION}|(?<![a-z])'|'(?![a-z])|[^\w\s\\.']"


def normalizer() -> normalizers.Normalizer:
    """Return the normalizer of texts: NFC, the replacements of `CHARACTERS`, lower case.

    The normalizer does not strip white space at the ends; `bpe.Tokenizer.encode` does.
    """
    replacements = [normalizers.Replace(Regex(pattern), content) for pattern, content in CHARACTERS]
    return normalizers.Sequence([normalizers.NFC(), *replacements, normalizers.Lowercase()])


def pre_tokenizer(backslash_in_word: bool = True) -> pre_tokenizers.PreTokenizer:
    """Return the splitter of texts into words.

    White space separates words and is dropped, except the newline, which is a word. The matches of
    `WORDS` are words, too.

    Args:
        backslash_in_word: keep a backslash in its word, the slip of the published pattern;
            otherwise separate runs of it like its neighbors in that pattern.
    """
    words = WORDS if backslash_in_word else rf"\\+|{WORDS}"
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\S\n]+"), behavior="removed"),
            pre_tokenizers.Split(Regex(words), behavior="isolated"),
        ]
    )
