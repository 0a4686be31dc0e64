"""The language of faults: what it takes, and that a mistake is explained."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.emulator.directives import (
    ANSWERS,
    RESETS,
    BodyCut,
    DirectiveError,
    Directives,
    EditChanges,
    Fault,
    parse_changes,
    parse_fault,
    parse_latency,
    parse_prompt,
)


def test_every_word_of_a_fault_is_read():
    assert parse_fault(
        "status=503 body=html code=Busy retry-after=1.5 first=2 billed=yes"
    ) == Fault(status=503, body="html", code="Busy", retry_after=1.5, first=2, billed=True)
    assert parse_fault("retry-after-date=9 status=429 location=http://x/ latency=2") == Fault(
        status=429, retry_after_date=9, location="http://x/", latency=2
    )
    assert parse_fault("answer=url size=800x640 cut=50% drip=1e3") == Fault(
        answer="url", size=(800, 640), cut=BodyCut(percent=50), drip=1000
    )


def test_every_word_of_an_edit_is_read():
    text = "shift=4,-3.5 recolour=1,0.5,2 rescale=1.02 aspect=3:2 tint=0 mark=none output=input"
    assert parse_changes(text) == EditChanges((4, -3.5), (1, 0.5, 2), 1.02, 1.5, 0, "none", "input")


def test_an_empty_directive_is_none():
    assert parse_fault(" ") is None
    assert parse_changes("") is None
    assert parse_prompt("a fox, [weighted:1.2] and [[alternate]] prompts") == Directives()


def test_directives_in_a_prompt_add_up():
    found = parse_prompt(
        "fox [[fault status=500]] in [[ fault first=1 ]] snow [[latency 2]] [[edit shift=1,1]]"
    )
    assert found == Directives(Fault(status=500, first=1), 2.0, EditChanges(shift=(1, 1)))


@pytest.mark.parametrize("text", ["2", "latency=2", " 2.0 "])
def test_latency_is_a_number_of_seconds(text):
    assert parse_latency(text) == 2


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("blockprompt", "block-prompt"),
        ("BLOCKRESULT", "block-result"),
        ("blocklistresult", "block-list"),
        ("emptyresult", "empty-data"),
    ],
)
def test_a_trigger_word_is_a_fault_unless_a_directive_says_more(word, answer):
    assert parse_prompt(f"a {word}, please").fault == Fault(answer=answer)
    assert parse_prompt(f"a {word} [[fault first=1]]").fault == Fault(answer=answer, first=1)
    assert parse_prompt(f"a {word} [[fault status=500]]").fault == Fault(status=500)
    assert parse_prompt(f"un{word}able").fault is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stat=500", "no 'stat'"),
        ("status", "status needs a value"),
        ("status=", "status"),
        ("status=abc", "status"),
        ("status=199", "between 200 and 599"),
        ("status=500 status=501", "more than once"),
        ("status=500 answer=html", "exclude"),
        ("cut=1 reset=answer", "exclude"),
        ("body=html", "need a status"),
        ("answer=nonsense", "none of"),
        ("size=0x10", "between"),
        ("size=10", "size"),
        ("cut=101%", "between 0 and 100"),
        ("cut=-1", "between"),
        ("first=0", "between"),
        ("latency=nan", "between"),
        ("latency=inf", "between"),
        ("drip=0", "between"),
        ("billed=perhaps", "none of"),
    ],
)
def test_a_mistake_in_a_fault_is_named(text, words):
    with pytest.raises(DirectiveError, match=words):
        parse_fault(text)


@pytest.mark.parametrize(
    "text", ["shift=1", "shift=a,b", "recolour=1,1", "rescale=0", "aspect=3", "tint=2", "mark=x"]
)
def test_a_mistake_in_an_edit_is_named(text):
    with pytest.raises(DirectiveError, match=text.partition("=")[0] + "|must be|between|none of"):
        parse_changes(text)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("[[falt status=500]]", r"did you mean \[\[fault"),
        ("[[Latency 2]]", r"did you mean \[\[latency"),
        ("[[fault]]", "no ''"),
        ("[[latency soon]]", "no number of seconds"),
        ("[[latency 1]] [[latency 2]]", "more than once"),
        ("[[fault reset=headers]]", "ask by header"),
    ],
)
def test_a_mistake_in_a_prompt_is_named(prompt, words):
    with pytest.raises(DirectiveError, match=words):
        parse_prompt(prompt)


def test_a_bad_directive_is_a_400_that_explains_it(client):
    answers = [
        client.generate(prompt="fox [[fault stat=1]]"),
        client.generate({"x-emulator-fault": "stat=1"}),
        client.generate({"x-emulator-latency": "soon"}),
        client.generate({"x-emulator-edit": "shft=1"}),
    ]
    assert [answer.status_code for answer in answers] == [400] * 4
    assert {answer.json()["error"]["code"] for answer in answers} == {"emulator_directive"}
    assert "it takes status" in answers[0].json()["error"]["message"]
    assert client.service.log.billed == 0


@given(
    status=st.integers(200, 599),
    first=st.integers(1, 9),
    latency=st.floats(0, 60),
    billed=st.sampled_from(["yes", "no"]),
)
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_what_is_read(status, first, latency, billed):
    fault = parse_fault(f"status={status} first={first} latency={latency!r} billed={billed}")
    assert fault == Fault(status=status, first=first, latency=latency, billed=billed == "yes")


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text):
    for parse in (
        parse_fault,
        parse_changes,
        parse_prompt,
        lambda t: parse_prompt(f"[[fault {t}]]"),
    ):
        try:
            found = parse(text)
        except DirectiveError:
            continue
        assert found is None or isinstance(found, Fault | EditChanges | Directives)


def test_a_fault_is_billed_unless_the_service_did_no_work():
    assert all(Fault(answer=kind).bills for kind in ANSWERS)
    assert [Fault(reset=when).bills for when in RESETS] == [False, False, True, True]
    assert not Fault(status=503, retry_after=1.0).bills
    assert Fault(status=503).bills
    assert not Fault(status=500, billed=False).bills
    assert Fault(status=429, billed=True).bills
    assert not Fault(answer="html", billed=False).bills
