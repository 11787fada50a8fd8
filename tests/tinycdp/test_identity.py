"""Who is who from the command line: what people and programs are shown, and what changes."""

from dsl.identifiers import profile_id
from tests.tinycdp.conftest import Shell

ANN, BOB = (profile_id(each) for each in ("user:ann", "user:bob"))


def test_a_profile_is_merged_and_parted(shell: Shell) -> None:
    """An alias, a merge, an un-merge: each is shown with the record that did it; settings change what they name."""
    shell.run("apply", "examples/shop")
    assert (1, "accepted", ANN, []) == tuple(shell.json("identity", "alias", "a-1", "ann").values())
    settings = shell.json("identity", "settings", "--max-user-ids", "2", "--block", "Kiosk", "--no-email-from-traits")
    assert (2, 100, ["Kiosk"], False, 2) == tuple(settings.values())
    assert BOB == shell.json("identity", "alias", "b-1", "bob")["profileId"]
    merged = shell.run("identity", "merge", "ann", "b-1")
    assert "seq 4: `user:ann` and `anon:b-1` are one profile; identifiers: 2, their events: 1" in merged.stdout
    tree = shell.run("identity", "show", BOB).stdout
    for line in (f"profile {ANN}, as of seq 4", "identifiers (4)", "ids that lead here (1)", "system profile_merged"):
        assert line in tree
    parted = shell.json("identity", "unmerge", "user:ann", "user:bob")
    assert ([4], 5) == ([each["link"]["seq"] for each in parted["conflicts"]], parted["recordedSeq"])
    refused = shell.run("identity", "merge", "ann", "bob")
    assert (1, True) == (refused.returncode, "never one profile" in refused.stderr)
    listed = shell.run("identity", "conflicts", "--reason", "unmerged").stdout
    assert "1 refused at seq 5, 1 of them shown" in listed
