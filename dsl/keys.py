"""Keys of definitions: what a trait, a segment or a feature may be called."""

import re
from typing import Final

from dsl.tokens import RESERVED

KEY: Final = re.compile(r"[a-z][a-z0-9_]*")
KEY_RULE: Final = "a lower-case letter, then lower-case letters, digits and `_`"
TAKEN: Final = RESERVED | {"events", "profile", "context", "properties"}
"""Words of the language that fit the pattern and yet name nothing."""
