"""The parser: tokens -> syntax tree, by precedence climbing; every error of a text is reported at once.

After an error the parser goes on with a placeholder; a tree that holds one is never handed out.
"""

import re
from dataclasses import replace
from typing import Final, TypeGuard

from dsl.cursor import MAX_DEPTH, OPENERS, Cursor, TooDeepError, Wanted
from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.habits import OPERATORS as HABITS
from dsl.source import Source, Span
from dsl.syntax import Aggregate, Binary, Boolean, Call, ListOf, Name, Node, Number, Path, String, Tree, Unary
from dsl.tokens import RESERVED, Token, tokenize
from dsl.walk import depth

MAX_LENGTH: Final = 20_000
"""Longest expression, in code points."""

OR, AND, NOT, COMPARISON, SUM, PRODUCT, NEGATION, ATOM = 10, 20, 30, 40, 50, 60, 70, 80
"""How tightly each form binds; a larger one binds tighter."""
PRECEDENCE: Final = {
    "||": OR, "&&": AND,
    "==": COMPARISON, "!=": COMPARISON, "<": COMPARISON, "<=": COMPARISON, ">": COMPARISON, ">=": COMPARISON,
    "in": COMPARISON, "contains": COMPARISON, "starts_with": COMPARISON, "ends_with": COMPARISON,
    "matches": COMPARISON,
    "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "%": PRODUCT,
}  # fmt: skip
"""Every binary operator in its canonical spelling."""

_SYNONYMS: Final = {"and": "&&", "or": "||", "not": "!"}
_WORD_OPERATORS: Final = {word: _SYNONYMS.get(word, word) for word in RESERVED - {"true", "false", "not"}}
_WINDOW = re.compile(r"(.+)_([0-9]+[A-Za-z]*)")
_MAX_DIAGNOSTICS: Final = 50
_AN_EXPRESSION = Wanted("an expression")


def parse(source: Source) -> Tree:
    """The tree of an expression.

    Raises:
        DefinitionError: with every error of the text, in its order.

    >>> parse(Source("a or b")).root.operator
    '||'
    """
    if len(source.text) > MAX_LENGTH:
        message = f"the expression has {len(source.text)} characters, more than {MAX_LENGTH}"
        advice = ("split it into several traits",)
        raise DefinitionError([Diagnostic("too-long", message, Span(0, 1), source, help=advice)])
    read = tokenize(source)
    cursor = Cursor(source, read.tokens)
    root = _Parser(cursor).whole()
    if root is not None and depth(root) > MAX_DEPTH:
        cursor.report_depth(root.span)
    diagnostics = sorted((*read.diagnostics, *cursor.diagnostics), key=lambda diagnostic: diagnostic.span.start)
    if root is None or diagnostics:
        raise DefinitionError(diagnostics[:_MAX_DIAGNOSTICS])
    return Tree(root, read.comments)


class _Parser:
    """The grammar, a method a form."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.recursion = 0

    def whole(self) -> Node | None:
        """The tree of all tokens, None when it nests too deeply to be followed."""
        cursor = self.cursor
        if cursor.at_end():
            cursor.report("unexpected-token", "the expression is empty", _AN_EXPRESSION, found="the end")
            return None
        try:
            root = self.expression(OR)
            while not cursor.at_end():
                if self.operator() in PRECEDENCE:
                    cursor.take()
                else:
                    self.leftover()
                self.skip()
        except TooDeepError:
            return None
        return root

    def leftover(self) -> None:
        """Reports a token that follows a whole expression."""
        cursor = self.cursor
        if cursor.at(")", "]"):
            text = cursor.next.text
            wanted = Wanted("an operator", (f"remove it, or open it with `{OPENERS[text]}`",))
            cursor.report("unexpected-token", f"`{text}` closes nothing", wanted, found=text)
        elif cursor.previous.kind == "word" and cursor.previous.text.lower() == "not":
            cursor.unexpected(Wanted("an operator", ("write `not` in lower case",)))
        elif cursor.at(".") and cursor.previous.kind == "word":
            advice = 'a name that holds a dot stands in brackets: `events["cart.added"].count`'
            cursor.unexpected(Wanted("an operator", (advice,)))
        elif habit := HABITS.get(cursor.next.text.lower() if cursor.next.kind == "word" else ""):
            cursor.unexpected(Wanted("an operator", (habit,)))
            is_between = cursor.take().text.lower() == "between"
            if is_between and cursor.at_operand():
                self.operand()
            if self.at_not() or (is_between and cursor.next.text.lower() == "and"):
                cursor.take()
        else:
            cursor.unexpected(Wanted("an operator"))

    def skip(self) -> None:
        """Passes over one token, or over an operand and all that hangs on it."""
        if self.cursor.at("."):
            self.cursor.take()
        if self.cursor.at_operand():
            self.expression(OR)
        else:
            self.cursor.take()

    # -- operators -------------------------------------------------------------------------------------------

    def expression(self, lowest: int) -> Node:
        """An operand, and every operator after it that binds at least as tightly as `lowest`."""
        self.recursion += 1
        # Twice the depth of the tree: a level of it may take a right operand and a parenthesis.
        if self.recursion > 2 * MAX_DEPTH + 2:
            self.cursor.report_depth()
            raise TooDeepError
        if lowest > NOT and self.at_not():
            self.cursor.report(
                "unexpected-token", "`!` needs parentheses here", Wanted("an operand", ("write `(!…)`",))
            )
        left = self.operand()
        while PRECEDENCE.get(operator := self.operator(), 0) >= lowest:
            left = self.chain(left, operator) if operator in ("&&", "||") else self.binary(left, operator)
        self.recursion -= 1
        return left

    def operator(self) -> str:
        """The binary operator that stands next, in its canonical spelling; empty when none does."""
        cursor, text = self.cursor, self.cursor.next.text
        if cursor.next.kind == "symbol" and text != "!":
            return text
        if self.at_not() and cursor.after_next.text == "in":
            cursor.report("unexpected-token", "`not in` is no operator", Wanted("an operator", ("write `!(a in b)`",)))
            cursor.take()
            return "in"
        if cursor.next.kind != "word" or text.lower() not in _WORD_OPERATORS:
            return ""
        if text not in _WORD_OPERATORS:
            cursor.unexpected(Wanted("an operator", (f"write `{text.lower()}` in lower case",)))
        return _WORD_OPERATORS[text.lower()]

    def at_not(self) -> bool:
        return self.cursor.at("!") or (self.cursor.next.kind == "word" and self.cursor.next.text == "not")

    def chain(self, first: Node, operator: str) -> Node:
        """`a && b && c …` as a balanced tree, so that long chains stay shallow; `&&` and `||` are associative."""
        operands, signs = [first], []
        while self.operator() == operator:
            signs.append(self.cursor.take().span)
            operands.append(self.expression(PRECEDENCE[operator] + 1))
        return _balanced(operator, operands, signs)

    def binary(self, left: Node, operator: str) -> Node:
        if PRECEDENCE[operator] == COMPARISON:
            self.refuse_chain(left)
        sign = self.cursor.take()
        right = self.expression(PRECEDENCE[operator] + 1)
        return Binary(operator, sign.span, left, right, left.span.join(right.span))

    def refuse_chain(self, left: Node) -> None:
        """Reports the second operator of `a < b < c`."""
        # A node in parentheses has them in its span.
        if not _is_comparison(left) or left.span.start < left.left.span.start:
            return
        if _is_comparison(left.left) and left.left.span.start == left.left.left.span.start:
            return  # the chain has been reported where it began
        sign, first, middle = (
            self.cursor.written(span) for span in (self.cursor.next.span, left.span, left.right.span)
        )
        short = len(first) + len(middle) <= 80 and "\n" not in first + middle
        advice = f"write `{first} && {middle} {sign} …`" if short else "join two comparisons with `&&`"
        wanted = Wanted("`&&` or `||`", (advice, "or put one of the two in parentheses"))
        message = f"`{sign}` follows another comparison"
        self.cursor.report("chained-comparison", message, wanted, label="comparisons do not chain", found=sign)

    # -- operands --------------------------------------------------------------------------------------------

    def operand(self) -> Node:
        """What stands before, between and after binary operators."""
        token = self.cursor.next
        match token.kind:
            case "number":
                return Number(token.micros, self.cursor.take().span)
            case "string":
                return String(token.value, self.cursor.take().span)
            case "word":
                return self.word(token)
            case "error":
                self.cursor.take()
                return self.operand() if self.cursor.at_operand() else self.placeholder()
        return self.symbol(token)

    def word(self, token: Token) -> Node:
        cursor = self.cursor
        if token.text in ("true", "false"):
            return Boolean(token.text == "true", cursor.take().span)
        if token.text == "not":
            return self.unary("!", NOT)
        if token.text in RESERVED:
            advice = f'`{token.text}` is an operator; a property of that name is `properties["{token.text}"]`'
            return self.no_operand(Wanted("an expression", (advice,)))
        cursor.take()
        if token.text == "events":
            return self.aggregate(token)
        if cursor.at("("):
            arguments, closing = self.arguments()
            return Call(token.text, token.span, arguments, token.span.join(closing))
        return self.path(token) if cursor.at(".", "[") else Name(token.text, token.span)

    def symbol(self, token: Token) -> Node:
        match token.text:
            case "(":
                return self.group()
            case "[":
                opening = self.cursor.opening()
                items, closing = self.items("]")
                return ListOf(items, opening.span.join(closing))
            case "-":
                return self.unary("-", NEGATION)
            case "!":
                return self.unary("!", NOT)
            case "." if self.cursor.after_next.kind == "number":
                advice = Wanted("a number", (f"write `0.{self.cursor.after_next.text}`",))
                self.cursor.report("bad-number", "a number starts with a digit", advice, found=".")
                self.cursor.take()
                return self.operand()
        return self.no_operand(_AN_EXPRESSION)

    def no_operand(self, wanted: Wanted) -> Node:
        self.cursor.unexpected(wanted)
        return self.placeholder()

    def placeholder(self) -> Node:
        return Name("", self.cursor.next.span)

    def unary(self, operator: str, tightness: int) -> Node:
        sign = self.cursor.take()
        operand = self.expression(tightness)
        span = sign.span.join(operand.span)
        if operator == "-" and isinstance(operand, Number) and operand.micros > 0:
            return Number(-operand.micros, span)
        return Unary(operator, operand, span)

    # -- brackets --------------------------------------------------------------------------------------------

    def group(self) -> Node:
        opening = self.cursor.opening()
        inner = self.expression(OR)
        a_list = Wanted("`)`", ('a list stands in brackets: `["US", "CA"]`',)) if self.cursor.at(",") else None
        return replace(inner, span=opening.span.join(self.closing(")", a_list)))

    def arguments(self) -> tuple[tuple[Node, ...], Span]:
        self.cursor.opening()
        return self.items(")")

    def items(self, closer: str) -> tuple[tuple[Node, ...], Span]:
        """Expressions between commas up to `closer`, and the span of the closer; a comma may stand last."""
        found: list[Node] = []
        while not self.cursor.at(closer) and not self.cursor.at_end():
            found.append(self.expression(OR))
            if not self.cursor.at(","):
                break
            self.cursor.take()
        return tuple(found), self.closing(closer, Wanted(f"`,` or `{closer}`"))

    def closing(self, closer: str, wanted: Wanted | None = None) -> Span:
        """Takes the closing bracket; before it, passes over what does not belong there."""
        if not self.cursor.at_closing(closer, wanted):
            while not (self.cursor.at(closer) or self.cursor.at_end() or self.cursor.closes_outer()):
                self.skip()
        return self.cursor.closed(closer)

    # -- names -----------------------------------------------------------------------------------------------

    def path(self, root: Token) -> Node:
        """`cart.total`, `properties["odd name"]`, after its first word."""
        steps, spans, span = [root.text], [root.span], root.span
        while self.cursor.at(".", "["):
            step, end = self.step() if self.cursor.at(".") else self.quoted()
            steps.append(step.value if step.kind == "string" else step.text)
            spans.append(step.span)
            span = span.join(end)
        if self.cursor.at("("):
            written = self.cursor.written(span)
            message = f"`{written[:60]}` is no function"
            self.cursor.report("unexpected-token", message, Wanted("an operator"), found="(")
            self.arguments()
        return Path(tuple(steps), tuple(spans), span)

    def step(self) -> tuple[Token, Span]:
        """The word after a dot, any word, and its span."""
        self.cursor.take()
        if self.cursor.next.kind in ("word", "error"):
            token = self.cursor.take()
            return token, token.span
        stars = ("`*` stands only after `events.`",) if self.cursor.at("*") else ()
        quotes = ('write it in brackets: `["…"]`',) if self.cursor.next.kind in ("string", "number") else ()
        self.cursor.unexpected(Wanted("a name", stars + quotes))
        return self.cursor.previous, self.cursor.previous.span

    def quoted(self, advice: tuple[str, ...] = ()) -> tuple[Token, Span]:
        """The string in `["…"]`, and the span of the closing bracket."""
        self.cursor.opening()
        if self.cursor.next.kind == "string":
            token = self.cursor.take()
        else:
            token = self.cursor.next
            self.cursor.unexpected(Wanted("a name in quotes", advice))
        return token, self.closing("]")

    # -- aggregates ------------------------------------------------------------------------------------------

    def aggregate(self, root: Token) -> Node:
        """`events.<event>[filter].<function>_<window>(arguments)`, after its first word."""
        cursor = self.cursor
        if not cursor.at(".", "["):
            return self.no_operand(Wanted("`.` and an event", ("such as `events.purchase.count_30d`",)))
        event, event_span = self.event()
        condition = self.filter() if cursor.at("[") else None
        function = self.function()
        if function is None:
            return self.placeholder()
        arguments, end = self.arguments() if cursor.at("(") else (None, function.span)
        windowed = _WINDOW.fullmatch(function.text)
        name, window = windowed.groups() if windowed else (function.text, None)
        name_span = Span(function.span.start, function.span.start + len(name))
        window_span = Span(name_span.end + 1, function.span.end) if window else None
        return Aggregate(
            event, event_span, condition, name, name_span, window, window_span, arguments, root.span.join(end)
        )

    def event(self) -> tuple[str | None, Span]:
        """The event's name, None for `*`, and its span."""
        cursor = self.cursor
        if cursor.at("["):
            token, _ = self.quoted(("a filter follows the event: `events.*[…].count`",))
            return token.value, token.span
        if cursor.after_next.text == "*" and cursor.after_next.kind == "symbol":
            cursor.take()
            return None, cursor.take().span
        token, span = self.step()
        return token.text, span

    def filter(self) -> Node:
        self.cursor.opening()
        condition = self.expression(OR)
        self.closing("]")
        while self.cursor.at("["):
            self.cursor.unexpected(Wanted("`.` and an aggregate", ("join two conditions with `&&` in one filter",)))
            self.cursor.opening()
            self.expression(OR)
            self.closing("]")
        return condition

    def function(self) -> Token | None:
        """The aggregate's name with its window; None when there is none."""
        if not self.cursor.at("."):
            self.cursor.unexpected(Wanted("`.` and an aggregate", ("such as `.count_30d`",)))
            return None
        self.cursor.take()
        if self.cursor.next.kind == "word":
            return self.cursor.take()
        self.cursor.unexpected(Wanted("an aggregate", ("such as `count_30d`",)))
        return None


def _is_comparison(node: Node) -> TypeGuard[Binary]:
    return isinstance(node, Binary) and PRECEDENCE[node.operator] == COMPARISON


def _balanced(operator: str, operands: list[Node], signs: list[Span]) -> Node:
    """A tree of all operands in order; sign `i` stands between operands `i` and `i + 1`."""
    if len(operands) == 1:
        return operands[0]
    middle = (len(operands) + 1) // 2
    left = _balanced(operator, operands[:middle], signs[: middle - 1])
    right = _balanced(operator, operands[middle:], signs[middle:])
    return Binary(operator, signs[middle - 1], left, right, left.span.join(right.span))
