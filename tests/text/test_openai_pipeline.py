"""Compare the published pipeline with the original algorithm: words, ids, files, libraries."""

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

# Text -> words, worked out by hand.
TABLE = {
    "Don't can't I'm we've he'd it's": "do n't ca n't i 'm we 've he 'd it 's",
    "DON\u2019T \u2018tis \u201cquoted\u201d": "don't ' tis \" quoted \"",
    "Mr. and Mrs. Lee, Dr. No; U.S. e.g. this.": "mr. and mrs. lee , dr. no ; u.s. e.g. this .",
    "wait\u2026 no... well....": "wait ... no ... well ....",
    "a\u2014b c\u2013d e\u2015f well-known --": "a - b c - d e - f well - known --",
    "a\\b": "a\\b",  # the slip: a backslash is not separated
    "Why?!! (x)[y]{z}|w": "why ? ! ! ( x ) [ y ] { z } | w",
    "a_b ~c *d* e/f g+h": "a _ b ~ c * d * e / f g + h",
    "up 3.5% to $1,000.50 at 10km": "up 3.5 % to $ 1 , 000.50 at 10 km",
    "see http://www.a-b.com/x or me@b.org": "see http : // www.a - b.com / x or me@b.org",
    " one \n\n \t two\r\nthree\u2028four ": "one \n two \n three \n four",
    # mojibake, composition, a ligature
    "caf\u00c3\u00a9 sch\u00f6n e\u0301t\u00e9 \ufb01n": "caf\u00e9 sch\u00f6n \u00e9t\u00e9 fin",
    "R&amp;B &lt;3": "r&b <3",
    "<b>R&amp;B</b>": "< b > r&amp ; b < / b >",  # entities in HTML stay
    "a < b\nR&amp;B": "a < b \n r&amp ; b",
    "\u4e00\u4e8c \u2665": "\u4e00\u4e8c \u2665",
    "\u2665 \u0130 \u03a3\u0391\u03a3": "\u2665 i\u0307 \u03c3\u03b1\u03c2",
    # a special case is lost to one that reaches over the space
    "x:o (x:o) :-) 8am 5p.m.": "x :o ( x : o ) : - ) 8 am 5 p.m.",
    "_start_ <unk> </w>": "_ start _ < unk > < / w >",
    "": "",
    " \n\t ": "",
}
FRAGMENTS = list(" \n-~!\";?+,)(/*[]}{|_.:'&%$=<>@#\\^`0123456789abcDOxXpP")
FRAGMENTS += "\u2019\u2018\u201c\u201d\u2014\u2026\u00b4\u00e9"
FRAGMENTS += "  |n't|'s|http://|www.a.com|10km|3.5%|&amp;|\u00c3\u00a9".split("|")
FRAGMENTS += "\u00c2|\u0153\n|\ufb01|\u00a0|\r\n|\x1f|\u2028|U.S.|\u4e00".split("|")


def original_words(text: str) -> list[str]:
    return ["\n" if word == "\n " else word for word in original_tokens.words(text)]


@pytest.fixture(scope="module")
def words() -> openai_pipeline.Pipeline:
    return openai_pipeline.Pipeline(list, openai_pipeline.libraries())


@pytest.fixture(scope="module")
def exact(tokenizer, tmp_path_factory) -> bpe.Tokenizer:
    """Return a tokenizer with the small vocabulary and the published pipeline."""
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
def test_text_has_the_published_words(words, original, exact, text):
    expected = TABLE[text].split(" ") if TABLE[text] else []
    assert words(text) == expected == original_words(text)
    assert exact.encode([text]) == [original.encode(text)]


def test_random_hard_texts_have_the_published_words(words):
    rules, generator = sorted(original_tokens.english().tokenizer.rules), random.Random(0)

    def fragment() -> str:
        return generator.choice(rules if generator.random() < 0.5 else FRAGMENTS)

    for _ in range(2_500):
        text = "".join(fragment() for _ in range(generator.randint(1, 14)))
        assert words(text) == original_words(text), text


def test_chunk_that_depends_on_neighbors_is_not_cached(words):
    assert words("x:o") == ["x", ":o"]
    assert words("x:o )") == ["x", ":", "o", ")"]
    assert words("x:o") == ["x", ":o"]


def test_ftfy_does_not_change_lines_that_skip_it():
    skipped = [
        character
        for character in map(chr, range(0x10000))
        if not openai_pipeline.NEEDS_FTFY.search(character)
    ]
    kinds = [*" aZ0.<'\"\t", *(character for character in skipped if character > "~")]
    pairs, quadruples = itertools.product(skipped, repeat=2), itertools.product(kinds, repeat=4)
    text = "".join(map("".join, itertools.chain(pairs, quadruples))).replace("\n", "")
    assert not openai_pipeline.NEEDS_FTFY.search(text) and not ftfy.badness.is_bad(text)
    assert ftfy.fix_text(text) == openai_pipeline.fix_text(text)


def test_novel_has_the_published_ids(real_data, parity):
    original = original_tokens.Original.published(real_data / "openai_gpt1")
    exact = bpe.assemble(original.encoder, list(original.ranks), published_words=True)
    assert exact.vocab_size == 40478
    assert (exact.start, exact.delimiter, exact.extract) == (40478, 40479, 40480)
    assert exact.newline == 40477
    novel = real_data / "novels/160_the_awakening_and_selected_short_stories.txt"
    text = novel.read_text(encoding="utf-8")
    (ids,) = exact.encode([text])
    expected = original.encode(text)
    parity(
        "a novel of 66,578 tokens by the published pipeline: tokens that differ",
        sum(map(operator.ne, ids, expected)),
        0,
    )
    assert len(ids) == len(expected) == 66_578
    pieces, pieces_ids = list(chunking.cut([text], 1_000)), []
    for piece, piece_ids in zip(pieces, exact.encode(pieces), strict=True):
        pieces_ids += piece_ids
        if chunking.ends_line(piece):
            pieces_ids.append(exact.newline)
    assert pieces_ids == [*ids, exact.newline]
    hard = "\n".join(TABLE)
    assert exact.encode([hard]) == [original.encode(hard)]


def test_threads_can_share_a_tokenizer(exact, corpus):
    texts = [f"{text} {number}" for number in range(20) for text in corpus]
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda text: exact.encode([text])[0], texts))
    assert ids == exact.encode(texts)


def test_cache_is_limited(corpus, monkeypatch):
    words = openai_pipeline.Pipeline(list, openai_pipeline.libraries())
    expected = [words(text) for text in corpus]
    monkeypatch.setattr(openai_pipeline, "CACHE_LIMIT", 3)
    assert [words(text) for text in corpus] == expected and len(words._cache) < 30


def test_file_names_the_word_pipeline(exact, tokenizer, corpus, tmp_path):
    file = tmp_path / "tokenizer.json"
    exact.save(file)
    loaded = bpe.load(file)
    assert loaded.word_pipeline == exact.word_pipeline == openai_pipeline.libraries()
    assert not tokenizer.word_pipeline
    assert loaded.fingerprint == exact.fingerprint != tokenizer.fingerprint
    texts = [*corpus, "the cat warn't on the hat"]  # the approximation ends a word before n't
    assert loaded.encode(texts) == exact.encode(texts) != tokenizer.encode(texts)
    assert loaded.decode(loaded.encode(["the cat"])[0]) == "the cat"
    with pytest.raises(Exception, match="expected"):  # or it would encode a text as one word
        tokenizers.Tokenizer.from_file(str(file))


@pytest.mark.parametrize("missing", openai_pipeline.LIBRARIES)
def test_missing_library_is_refused_in_one_line(exact, tmp_path, monkeypatch, missing):
    exact.save(tmp_path / "tokenizer.json")
    monkeypatch.setitem(sys.modules, missing, None)
    loaded = bpe.load(tmp_path / "tokenizer.json")
    assert loaded.decode([loaded.newline])  # decoding does not need the library
    with pytest.raises(
        UserError,
        match=rf"needs {missing}, .* pip install 'gpt1_jax\[openai\]', "
        "or import .* --text=approximate$",
    ):
        loaded.encode(["the cat"])
    with pytest.raises(UserError, match=f"needs {missing}"):
        bpe.assemble({"<unk>": 0}, [], published_words=True)


def test_other_library_version_is_refused(exact, corpus, monkeypatch):
    monkeypatch.setattr(ftfy, "__version__", "99.1.0")
    with pytest.raises(
        UserError,
        match=r"ftfy 99\.1, spacy .* are installed, but the tokenizer's ids are those of ftfy ",
    ):
        bpe.Tokenizer(exact._backend, exact.word_pipeline).encode(corpus)
