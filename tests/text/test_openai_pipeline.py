"""The published pipeline, against the original algorithm of original_tokens.py: words, ids, files, and what is missing."""

import itertools
import json
import operator
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import tokenizers

ftfy = pytest.importorskip("ftfy")
pytest.importorskip("spacy")
import original_tokens

from gpt1_jax.errors import UserError
from gpt1_jax.text import bpe, chunking, openai_pipeline

# Text -> its words, worked out by hand.
TABLE = {
    "Don't can't I'm we've he'd it's": "do n't ca n't i 'm we 've he 'd it 's",
    "DON\u2019T \u2018tis \u201cquoted\u201d": "don't ' tis \" quoted \"",
    "Mr. and Mrs. Smith, Dr. No; U.S. e.g. this.": "mr. and mrs. smith , dr. no ; u.s. e.g. this .",
    "wait\u2026 no... well....": "wait ... no ... well ....",
    "a\u2014b c\u2013d e\u2015f well-known --": "a - b c - d e - f well - known --",
    "a\\b": "a\\b",  # the slip: a backslash is not separated
    "Why?!! (x)[y]{z}|w a_b ~c *d* e/f g+h": "why ? ! ! ( x ) [ y ] { z } | w a _ b ~ c * d * e / f g + h",
    "up 3.5% to $1,000.50 at 10km": "up 3.5 % to $ 1 , 000.50 at 10 km",
    "see http://www.a-b.com/x or me@b.org": "see http : // www.a - b.com / x or me@b.org",
    " one \n\n \t two\r\nthree\u2028four ": "one \n two \n three \n four",
    "caf\u00c3\u00a9 sch\u00f6n e\u0301t\u00e9 \ufb01n": "caf\u00e9 sch\u00f6n \u00e9t\u00e9 fin",  # mojibake, composition, a ligature
    "R&amp;B &lt;3": "r&b <3",
    "<b>R&amp;B</b>": "< b > r&amp ; b < / b >",  # HTML: its entities stay
    "a < b\nR&amp;B": "a < b \n r&amp ; b",
    "\u4e00\u4e8c \u2665 \u0130 \u03a3\u0391\u03a3": "\u4e00\u4e8c \u2665 i\u0307 \u03c3\u03b1\u03c2",
    "x:o (x:o) :-) 8am 5p.m.": "x :o ( x : o ) : - ) 8 am 5 p.m.",  # a special case is lost to the one that reaches over the space
    "_start_ <unk> </w>": "_ start _ < unk > < / w >",
    "": "",
    " \n\t ": "",
}
FRAGMENTS = list(
    " \n-~!\";?+,)(/*[]}{|_.:'&%$=<>@#\\^`0123456789abcDOxXpP\u2019\u2018\u201c\u201d\u2014\u2026\u00b4\u00e9"
)
FRAGMENTS += "  |n't|'s|http://|www.a.com|10km|3.5%|&amp;|\u00c3\u00a9|\u00c2|\u0153\n|\ufb01|\u00a0|\r\n|\x1f|\u2028|U.S.|\u4e00".split(
    "|"
)


def plain(words: list[str]) -> list[str]:
    return ["\n" if word == "\n " else word for word in words]


@pytest.fixture(scope="module")
def words() -> openai_pipeline.Pipeline:
    return openai_pipeline.Pipeline(list, openai_pipeline.libraries())


@pytest.fixture(scope="module")
def exact(tokenizer, tmp_path_factory) -> bpe.Tokenizer:
    """The small vocabulary behind the published pipeline."""
    file = tmp_path_factory.mktemp("exact") / "tokenizer.json"
    tokenizer.save(file)
    model = json.loads(file.read_text())["model"]
    return bpe.assemble(
        model["vocab"], [tuple(pair) for pair in model["merges"]], published_words=True
    )


@pytest.fixture(scope="module")
def original(exact, tmp_path_factory) -> original_tokens.Original:
    file = tmp_path_factory.mktemp("original") / "tokenizer.json"
    exact.save(file)
    model = json.loads(file.read_text())["model"]
    return original_tokens.Original(model["vocab"], map(tuple, model["merges"]))


@pytest.mark.parametrize("text", TABLE)
def test_a_text_falls_into_the_published_words(words, original, exact, text):
    expected = TABLE[text].split(" ") if TABLE[text] else []
    assert words(text) == expected == plain(original_tokens.words(text))
    assert exact.encode([text]) == [original.encode(text)]


def test_texts_of_hard_fragments_fall_into_the_published_words(words):
    rules, chance = sorted(original_tokens.english().tokenizer.rules), random.Random(0)
    for _ in range(2_500):
        fragment = lambda: chance.choice(rules if chance.random() < 0.5 else FRAGMENTS)
        text = "".join(fragment() for _ in range(chance.randint(1, 14)))
        assert words(text) == plain(original_tokens.words(text)), text


def test_a_chunk_that_its_neighbours_can_change_is_never_remembered(words):
    assert (
        words("x:o") == ["x", ":o"]
        and words("x:o )") == ["x", ":", "o", ")"]
        and words("x:o") == ["x", ":o"]
    )


def test_lines_that_ftfy_is_spared_are_those_that_it_leaves_alone():
    spared = [
        character
        for character in map(chr, range(0x10000))
        if not openai_pipeline.OTHER.search(character)
    ]
    kinds = [*" aZ0.<'\"\t", *(character for character in spared if character > "~")]
    text = "".join(
        map(
            "".join,
            itertools.chain(
                itertools.product(spared, repeat=2), itertools.product(kinds, repeat=4)
            ),
        )
    ).replace("\n", "")
    assert not openai_pipeline.OTHER.search(text) and not ftfy.badness.is_bad(text)
    assert ftfy.fix_text(text) == openai_pipeline._fixed(text)


def test_a_novel_has_the_published_ids(real_data, parity):
    original = original_tokens.Original.published(real_data / "openai_gpt1")
    exact = bpe.assemble(original.encoder, list(original.ranks), published_words=True)
    assert (exact.vocab_size, exact.start, exact.delimiter, exact.extract, exact.newline) == (
        40478,
        40478,
        40479,
        40480,
        40477,
    )
    text = (real_data / "novels/160_the_awakening_and_selected_short_stories.txt").read_text(
        encoding="utf-8"
    )
    (ids,) = exact.encode([text])
    expected = original.encode(text)
    parity(
        "a novel of 66,578 tokens by the published pipeline: tokens that differ",
        sum(map(operator.ne, ids, expected)),
        0,
    )
    assert len(ids) == len(expected) == 66_578
    cut = list(chunking.cut([text], 1_000))
    ends = [
        [*ids, *[exact.newline] * chunking.ends_line(piece)]
        for piece, ids in zip(cut, exact.encode(cut), strict=True)
    ]
    assert list(itertools.chain(*ends)) == [*ids, exact.newline]
    hard = "\n".join(TABLE)
    assert exact.encode([hard]) == [original.encode(hard)]


def test_threads_share_a_tokenizer(exact, corpus):
    texts = [f"{text} {number}" for number in range(20) for text in corpus]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: exact.encode([text])[0], texts))
    assert found == exact.encode(texts)


def test_what_is_remembered_has_a_limit(corpus, monkeypatch):
    words = openai_pipeline.Pipeline(list, openai_pipeline.libraries())
    expected = [words(text) for text in corpus]
    monkeypatch.setattr(published, "LIMIT", 3)
    assert [words(text) for text in corpus] == expected and len(words._known) < 30


def test_the_file_says_where_words_come_from(exact, tokenizer, corpus, tmp_path):
    file = tmp_path / "tokenizer.json"
    exact.save(file)
    loaded = bpe.load(file)
    assert loaded.words == exact.words == openai_pipeline.libraries() and not tokenizer.words
    assert loaded.fingerprint == exact.fingerprint != tokenizer.fingerprint
    texts = [*corpus, "the cat warn't on the hat"]  # the approximation ends a word before n't
    assert loaded.encode(texts) == exact.encode(texts) != tokenizer.encode(texts)
    assert loaded.decode(loaded.encode(["the cat"])[0]) == "the cat"
    with pytest.raises(Exception, match="expected"):  # the library would take a text for one word
        tokenizers.Tokenizer.from_file(str(file))


@pytest.mark.parametrize("missing", openai_pipeline.LIBRARIES)
def test_a_missing_library_is_told_in_one_line(exact, tmp_path, monkeypatch, missing):
    exact.save(tmp_path / "tokenizer.json")
    monkeypatch.setitem(sys.modules, missing, None)
    loaded = bpe.load(tmp_path / "tokenizer.json")
    assert loaded.decode([loaded.newline])  # for what needs no words the library is not missed
    with pytest.raises(
        UserError,
        match=rf"needs {missing}, .* pip install 'gpt1_jax\[openai\]', or import .* --text=approximate$",
    ):
        loaded.encode(["the cat"])
    with pytest.raises(UserError, match=f"needs {missing}"):
        bpe.assemble({"<unk>": 0}, [], published_words=True)


def test_another_version_of_a_library_is_refused(exact, corpus, monkeypatch):
    monkeypatch.setattr(ftfy, "__version__", "99.1.0")
    with pytest.raises(
        UserError,
        match=r"ftfy 99\.1, spacy .* are installed, but the tokenizer's ids are those of ftfy ",
    ):
        bpe.Tokenizer(exact._backend, exact.words).encode(corpus)
