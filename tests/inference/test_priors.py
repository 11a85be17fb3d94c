"""The clinic's own mix of diagnoses."""

import pytest

from dermcheck.errors import ArgumentError
from dermcheck.inference.priors import PRIOR_VARIABLE, clinic_prior, parse_prior

USUAL = "akiec=3%,bcc=5%,bkl=11%,df=1%,mel=11%,nv=67%,vasc=2%"


def test_percentages_and_shares_mean_the_same_in_any_order():
    shares = "nv=0.67, mel=0.11, AKIEC=0.03, bcc=0.05, bkl=0.11, df=0.01, vasc=0.02"
    assert parse_prior(shares) == pytest.approx(parse_prior(USUAL))
    assert sum(parse_prior(USUAL.replace("67%", "66%"))) == pytest.approx(1)


def test_the_environment_is_read_each_time(monkeypatch):
    monkeypatch.delenv(PRIOR_VARIABLE, raising=False)
    assert clinic_prior() is None
    monkeypatch.setenv(PRIOR_VARIABLE, USUAL)
    assert clinic_prior() == parse_prior(USUAL)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (USUAL.replace("mel", "melanoma"), "'melanoma=11%' is not the share of one of akiec"),
        (USUAL + ",nv=1%", "each named once"),
        (USUAL.replace(",df=1%", ""), "the share of df is missing"),
        (USUAL.replace("67%", "40%"), "sum to 0.730, expected 1"),
        (USUAL.replace("1%,mel", "0%,mel"), "the share of df is '0%', expected a number between 0 and 1"),
        (USUAL.replace("11%,nv", "much,nv"), "the share of mel is 'much'"),
    ],
)
def test_what_cannot_be_a_prior_is_refused_in_words(text, words):
    with pytest.raises(ArgumentError, match="DERMCHECK_PRIOR") as refusal:
        parse_prior(text)
    assert words in str(refusal.value)
