"""What the ranking is worth: the score's order of networks against that of counting."""

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
    """The verdict as a sentence, and the correlation of each order by its name; none if none could be computed."""

    n: int
    verdict: str
    orders: list[tuple[str, Correlation]]


def ranking_view(summary: Summary) -> RankingView | None:
    """Returns the score's rank correlation with trained accuracy beside the baselines', None before it is known."""
    ranking = summary.ranking
    if ranking is None:
        return None
    orders = [(name, ranking.correlations[key]) for key, name in _ORDERS]
    return RankingView(
        n=ranking.n,
        verdict=f"{ranking.verdict[:1].upper()}{ranking.verdict[1:]}." if ranking.verdict else "",
        orders=orders if any(correlation.spearman is not None for _, correlation in orders) else [],
    )
