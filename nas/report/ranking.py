"""The ranking check: how well the score orders networks, compared with counting."""

from __future__ import annotations

from dataclasses import dataclass

from nas.report.summary import Correlation, Summary

_ORDERS = (
    ("score", "the search's score"),
    ("params", "counting parameters"),
    ("macs", "counting multiply-adds"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingView:
    """The verdict as a sentence, and the correlation of each predictor by name; empty if none could be computed."""

    n: int
    verdict: str
    orders: list[tuple[str, Correlation]]


def ranking_view(summary: Summary) -> RankingView | None:
    """Returns the rank correlations of score and baselines with trained accuracy, None before they are known."""
    ranking = summary.ranking
    if ranking is None:
        return None
    orders = [(name, ranking.correlations[key]) for key, name in _ORDERS]
    return RankingView(
        n=ranking.n,
        verdict=f"{ranking.verdict[:1].upper()}{ranking.verdict[1:]}." if ranking.verdict else "",
        orders=orders if any(correlation.spearman is not None for _, correlation in orders) else [],
    )
