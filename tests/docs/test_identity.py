"""`docs/reference/identity.md`: every log on the page gives the profiles and the refusals that it shows."""

from itertools import pairwise

import pytest

from dsl.identifiers import profile_id
from dsl.identity import Identities
from dsl.identity_records import IdentitySettings, Mention, Record, SettingsChange, Unmerge
from tests.docs.blocks import Block, blocks

PAGE = "docs/reference/identity.md"
EXAMPLES = [(log, shown) for log, shown in pairwise(blocks(PAGE)) if log.language == "log"]


def record(line: str) -> Record:
    """A record as the page writes it: its number, then whom it names or what it says."""
    number, *words = line.split()
    match words:
        case ["unmerge", one, other]:
            return Unmerge(int(number), one, other)
        case ["settings", setting]:
            name, _, value = setting.partition("=")
            return SettingsChange(int(number), IdentitySettings(**{name: int(value)}))  # type: ignore[arg-type]
    previous = next((word.removeprefix("previous=") for word in words if word.startswith("previous=")), None)
    return Mention(int(number), tuple(word for word in words if not word.startswith("previous=")), previous)


def told(known: Identities) -> list[str]:
    """Profiles, the first identifier first; ids that lead elsewhere; refused links."""
    profiles = [" ".join((each.first, *sorted(each.members.keys() - {each.first}))) for each in known.profiles()]
    retired = [f"retired {first}" for first in known.retired().values()]
    refused = [f"refused {c.seq} {c.reason} {c.stronger} {c.weaker}" for c in known.conflicts]
    return sorted([*profiles, *retired, *refused])


def as_shown(block: Block) -> list[str]:
    """The lines of the page with members in one order."""
    lines = (line.split() for line in block.text.splitlines())
    return sorted(
        " ".join(words if words[0] in ("retired", "refused") else [words[0], *sorted(words[1:])]) for words in lines
    )


@pytest.mark.parametrize(("log", "shown"), EXAMPLES, ids=lambda block: f"line {block.line}")
def test_a_log_gives_what_the_page_shows(log: Block, shown: Block) -> None:
    """The replay of the log has exactly the profiles, retired ids and refusals of the block behind it."""
    known = Identities()
    for line in log.text.splitlines():
        known.add(record(line))
    assert "profiles" == shown.language
    assert as_shown(shown) == told(known)
    assert all(profile_id(each.first) == each.profile_id for each in known.profiles())
