"""One line for an error that a user can cause, be it ours, Hydra's or OmegaConf's, with the legal values where they are known."""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from bimp_exp.config.check import no_such_key
from bimp_exp.errors import UserError, printable


def explain(error: Exception) -> str:
    """One line that says what is wrong and what is legal."""
    return printable(_explain(error))


def _explain(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(error, UserError):
        return str(error)
    if isinstance(cause, UserError):
        return str(cause)
    if "Ambiguous value for argument" in str(error):
        return f"{first_line(error)}: several values make a grid, which needs -m"
    if "override must be a string or a list. Got NoneType" in str(error):
        empty = [text for text in sys.argv[1:] if text.endswith(("=", "=null"))]
        return f"{' '.join(empty) or 'GROUP'}: a group has one option, not null"
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        close = get_close_matches(option, error.options, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"{group}={option}: no such option{hint}; choose one of {', '.join(sorted(error.options))}"
    if isinstance(error, ConfigCompositionException):
        return _composition(error, cause)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return f"{first_line(error)} (in: {' '.join(sys.argv[1:])})"


def _unreadable(error: OverrideParseException) -> str:
    """What is said of an override against Hydra's grammar: its parser's own message is of no help, that of its functions is."""
    evaluating = re.search(r"while evaluating .*", str(error))
    reason = (
        evaluating[0] if evaluating else "give KEY=VALUE, and in quotes what has commas, brackets, quotes or blanks"
    )
    return f"{error.override} cannot be read: {reason}"


def _composition(error: ConfigCompositionException, cause: BaseException | None) -> str:
    text = first_line(error)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError):
        parent = cause.parent_node
        if isinstance(parent, DictConfig):
            keys = [str(key) for key in parent if not str(key).startswith("_")]
            return no_such_key(str(cause.full_key or cause.key), keys)
        return first_line(cause)
    if isinstance(cause, OmegaConfBaseException):
        return f"{text.removeprefix('Error merging override ')}: {first_line(cause)}"
    if match := re.match(r"In '.*': Could not load '(.*)/(.*?)'", text):
        return f"{match[1]}={match[2]}: no such option"
    if match := re.match(r"Could not delete from config. '(.*)' does not exist", text):
        return f"no such key: {match[1]}, so it cannot be deleted"
    if match := re.match(r"Could not append to config. An item is already at '(.*)'", text):
        return f"{match[1]} is there already: leave the + out"
    if match := re.match(r"force-add of config groups is not supported: '\+\+(.*)'", text):
        return f"{match[1]} chooses an option of a group: leave the ++ out"
    if match := re.search(r"To append to your default list use \+(.*)", str(error)):
        key = match[1].partition("=")[0]
        return f"{match[1]}: {key or 'that'} is not in the configuration; +{match[1]} would add it"
    return text


def first_line(error: BaseException) -> str:
    """The first line of the error's message; its type where there is none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
