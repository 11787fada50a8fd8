"""The one table of functions: checks, completion, documents and engines read it."""

from dataclasses import dataclass

from dsl.types import Type


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language.

    Attributes:
        parameters: types of the arguments; `unknown` takes any type, the same for all such parameters of a call.
        returns: type of the result; `unknown` means that of the arguments of any type.
        variadic: the last parameter may be repeated.
        optional: how many of the last parameters may be left out.
        total: never missing, whatever the arguments are.
        example: an expression and its value.
    """

    name: str
    parameters: tuple[Type, ...]
    returns: Type
    summary: str
    example: tuple[str, str]
    variadic: bool = False
    optional: int = 0
    total: bool = False

    @property
    def signature(self) -> str:
        """As shown to people: `coalesce(any, any, ...) -> any`."""
        words = ["any" if parameter == "unknown" else parameter for parameter in self.parameters]
        first_optional = len(words) - self.optional
        words = [f"{word}?" if number >= first_optional else word for number, word in enumerate(words)]
        shown = ", ".join([*words, "..."] if self.variadic else words)
        return f"{self.name}({shown}) -> {'any' if self.returns == 'unknown' else self.returns}"


FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (
        Function(
            "coalesce",
            ("unknown", "unknown"),
            "unknown",
            "the first argument that is not missing; missing when all are",
            ('coalesce(profile.plan, "free")', '"free"'),
            variadic=True,
        ),
        Function(
            "if",
            ("boolean", "unknown", "unknown"),
            "unknown",
            "the second argument when the condition is true, else the third",
            ('if(1 > 2, "yes", "no")', '"no"'),
        ),
        Function(
            "is_set",
            ("unknown",),
            "boolean",
            "true when the argument is not missing",
            ("is_set(profile.plan)", "false"),
            total=True,
        ),
        Function(
            "number",
            ("unknown",),
            "number",
            "a number as it is, a decimal text as a number, a timestamp in milliseconds; else missing",
            ('number("2.50")', "2.5"),
        ),
        Function(
            "text",
            ("unknown",),
            "string",
            "the canonical text of a number, boolean or timestamp; a string as it is",
            ("text(2.50)", '"2.5"'),
        ),
        Function(
            "round",
            ("number", "number"),
            "number",
            "a number with at most as many decimals as the second argument, a literal from 0 to 6, says (0 without "
            "one); halves away from zero",
            ("round(2.345, 2)", "2.35"),
            optional=1,
        ),
        Function(
            "date",
            ("string",),
            "timestamp",
            "the start of a date in the project's zone, or an instant; takes a literal",
            ('date("2017-07-04")', '"2017-07-04T04:00:00.000Z"'),
        ),
        Function(
            "bucket",
            ("string",),
            "number",
            "a share from 0 up to 1 that is fixed for each profile and salt, a literal",
            ('bucket("spring") < 1', "true"),
            total=True,
        ),
        Function(
            "percent_rank",
            ("number",),
            "number",
            "the share of profiles with a smaller value, 0 to 1, among all that have one; as of the last refresh",
            ("coalesce(percent_rank(profile.age), 0)", "0"),
        ),
        Function("abs", ("number",), "number", "the size of a number without its sign", ("abs(-2.5)", "2.5")),
        Function("min", ("number", "number"), "number", "the smallest argument", ("min(3, 2)", "2"), variadic=True),
        Function("max", ("number", "number"), "number", "the largest argument", ("max(3, 2)", "3"), variadic=True),
        Function("lower", ("string",), "string", "A-Z turned into a-z, all else kept", ('lower("VIP")', '"vip"')),
        Function("upper", ("string",), "string", "a-z turned into A-Z, all else kept", ('upper("vip")', '"VIP"')),
        Function("length", ("string",), "number", "the number of code points", ('length("héllo")', "5")),
        Function("now", (), "timestamp", "the instant of the question", ("now() == now()", "true")),
        Function(
            "days_since",
            ("timestamp",),
            "number",
            "whole days of 24 hours from a timestamp to the instant of the question, rounded down",
            ("days_since(now())", "0"),
        ),
    )
}

RANK = "percent_rank"
"""The function that needs all profiles: its value is kept in the state of each."""

TAKES_ANY = ("is_set", "number", "text")
"""Functions whose argument is of any type on its own: nothing beside it settles what is open."""

REFERENCES = ("segment", "trait")
"""Calls that name another definition by a string: `segment("vip")`."""
