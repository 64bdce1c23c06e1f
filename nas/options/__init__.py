"""Options, each declared once; the parser, the checks and the options page are generated."""

from nas.options.declaration import Option, check_values, declared, not_default, option, words_of
from nas.options.kinds import check_choice, check_device, check_text, check_whole, flag, one_of
from nas.options.methods import (
    METHODS,
    MethodEntry,
    MethodOptions,
    infer_method,
    method_of,
    method_options,
    option_owners,
    register_method,
)
from nas.options.search_options import AUGMENTS, QUALITY_METRICS, SearchOptions
from nas.options.searchers import SEARCHERS

__all__ = [
    "AUGMENTS",
    "METHODS",
    "QUALITY_METRICS",
    "SEARCHERS",
    "MethodEntry",
    "MethodOptions",
    "Option",
    "SearchOptions",
    "check_choice",
    "check_device",
    "check_text",
    "check_values",
    "check_whole",
    "declared",
    "flag",
    "infer_method",
    "method_of",
    "method_options",
    "not_default",
    "one_of",
    "option",
    "option_owners",
    "register_method",
    "words_of",
]
