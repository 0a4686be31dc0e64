"""What the server says, in the page's languages: the catalogues hold just what the source says."""

from __future__ import annotations

import json
import re

import pytest
from mai_image.page.routes import WEB_FOLDER
from sentences import COMPOSED, UNSHOWN, find_sentences, written_sentences

LANGUAGES = ("chinese", "german", "japanese", "spanish")


def catalogue(language: str) -> dict[str, str]:
    """The entries of a module that is a JSON object but for its ends."""
    text = (WEB_FOLDER / f"{language}.mjs").read_text("utf-8")
    entries: dict[str, str] = json.loads(text[text.index("{\n") : text.rindex(",\n}")] + "}")
    return entries


def lines(entries: dict[str, str]) -> str:
    return "\n".join(
        f"  {json.dumps(each, ensure_ascii=False)}: {said}," for each, said in entries.items()
    )


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\{\d+\}", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_that_the_page_can_show_is_translated(language: str) -> None:
    """Or it stands in UNSHOWN of tests/support/sentences.py, if no user of the page meets it."""
    known = catalogue(language)
    missing = {
        each: f'"" /* {place} */' for each, place in find_sentences().items() if each not in known
    }
    assert not missing, f"add to web/{language}.mjs, with the translations:\n{lines(missing)}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translation_is_of_a_sentence_that_is_gone(language: str) -> None:
    said = find_sentences()
    gone = {each: json.dumps(to) for each, to in catalogue(language).items() if each not in said}
    assert not gone, f"take from web/{language}.mjs:\n{lines(gone)}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_same_values_as_its_sentence(language: str) -> None:
    wrong = {
        each: json.dumps(to, ensure_ascii=False)
        for each, to in catalogue(language).items()
        if numbers(each) != numbers(to) or not to.strip()
    }
    assert not wrong, f"give these their numbers in web/{language}.mjs:\n{lines(wrong)}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_has_one_translation(language: str) -> None:
    text = (WEB_FOLDER / f"{language}.mjs").read_text("utf-8")
    found = re.findall(r'^  "((?:[^"\\]|\\.)*)": ', text, re.M)
    assert len(found) == len(set(found)) == len(catalogue(language))


def test_what_is_left_untranslated_on_purpose_is_still_said() -> None:
    gone = sorted(UNSHOWN - set(written_sentences()))
    assert not gone, f"take from UNSHOWN of tests/support/sentences.py: {gone}"


def test_what_code_composes_still_has_its_words_there() -> None:
    root = WEB_FOLDER.parent
    for sentence, file in COMPOSED.items():
        words = re.sub(r"\{\d+\}", "", sentence).strip(" :")
        assert words in (root / file).read_text("utf-8"), f"{sentence!r} is not composed in {file}"
