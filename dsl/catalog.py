"""The catalog: every definition of a project as frozen values, and the document they are stored as."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

ValueType = Literal["number", "string", "boolean", "timestamp", "list"]
FieldType = Literal["string", "number", "boolean", "timestamp", "object", "list"]
PipelineCategory = Literal["behavioral", "transaction", "context", "marketing", "trust", "realtime"]
PipelineStatus = Literal["active", "inactive", "configuring"]
BucketBy = Literal["profile", "user", "external", "email", "device", "anon"]
Aggregation = Literal["COUNT", "SUM", "AVG", "MIN", "MAX", "COUNT_DISTINCT", "LAST", "FIRST"]


@dataclass(frozen=True, slots=True)
class EventSchema:
    """A declared event: its properties and their types."""

    name: str
    properties: Mapping[str, ValueType] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True)
class PipelineField:
    """A property of a pipeline's event.

    Attributes:
        name: its path, nested as `cart.total`.
        required: an event without it, or with null there, is refused.
    """

    name: str
    type: FieldType
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class PipelineEvent:
    """An event that a pipeline takes.

    Attributes:
        enabled: a disabled event stays declared, and is refused when it comes.
    """

    name: str
    fields: tuple[PipelineField, ...] = ()
    description: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A way in for events, each checked against its schema; the events are declared for expressions as well.

    Attributes:
        key: names the route.
        status: only an active pipeline takes events.
    """

    key: str
    events: tuple[PipelineEvent, ...] = ()
    name: str = ""
    description: str = ""
    category: PipelineCategory = "behavioral"
    status: PipelineStatus = "active"


@dataclass(frozen=True, slots=True)
class Trait:
    """A named expression; `type` only where the expression does not fix it."""

    key: str
    expression: str
    description: str = ""
    type: ValueType | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Feature:
    """One aggregation over one event with several windows: `dsl.features.expand` gives its traits.

    Attributes:
        event: the event's name; `*` is any track, page or screen event.
        field: the property that is aggregated, nested as `cart.total`; None for `COUNT`, which takes none.
        windows: how far back, as the language writes it: `5m`, `24h`, `30d`; one trait for each.
        enabled: a disabled feature is kept and has no traits.
    """

    key: str
    event: str
    aggregation: Aggregation
    field: str | None
    windows: tuple[str, ...]
    description: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Segment:
    """A named Boolean expression: the profiles for which it holds."""

    key: str
    expression: str
    description: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One answer of a flag: whether it allows, and what it hands to the application (any JSON).

    Attributes:
        weight_micros: its part of a split, in micro-units against those of the other variants; 0 gets nobody.
    """

    key: str
    allow: bool
    payload: object = None
    weight_micros: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """`when` holds -> `variant`; the first rule that decides does.

    Attributes:
        when: None is everybody.
        variant: None splits by the weights of the variants.
        rollout_micros: the share of those for whom `when` holds that the rule decides for, 0 to 1,000,000 micro-units;
            None is all of them. Who is outside goes on to the next rule.
    """

    when: str | None
    variant: str | None = None
    rollout_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """Another flag that has to answer one of `variants`; without any, a variant that allows. A disabled one fails."""

    flag: str
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Profiles that get `variant` whatever the rules say, each by an identifier `<kind>:<value>` or its profile id."""

    variant: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """A decision: prerequisites, holdout and targets, then rules in order, then `default`.

    A disabled flag answers its default variant. `variants` always holds every key that a rule, a target or `default`
    names.

    Attributes:
        holdout: a condition; who it holds for gets the default. None holds nobody out.
        bucket_by: what shares and splits go by; a kind of identifier stands for the value of the profile's own.
    """

    key: str
    rules: tuple[Rule, ...] = ()
    variants: tuple[Variant, ...] = (Variant("on", True), Variant("off", False))
    default: str = "off"
    enabled: bool = True
    description: str = ""
    prerequisites: tuple[Prerequisite, ...] = ()
    holdout: str | None = None
    targets: tuple[Target, ...] = ()
    bucket_by: BucketBy = "profile"

    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of the flag's document but for its description.

        Flags that decide alike because they are written alike have equal versions.
        """
        document = {name: value for name, value in asdict(self).items() if name != "description"}
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Export:
    """A segment written to a file at each full refresh: `name` is the file's stem."""

    name: str
    segment: str
    format: Literal["csv", "parquet"]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All definitions of one project, as written; `dsl.check.check_catalog` validates them.

    Attributes:
        timezone: IANA name of the project's zone, in which the dates in expressions are read.
    """

    events: tuple[EventSchema, ...] = ()
    attributes: Mapping[str, ValueType] = field(default_factory=dict)
    traits: tuple[Trait, ...] = ()
    segments: tuple[Segment, ...] = ()
    flags: tuple[Flag, ...] = ()
    exports: tuple[Export, ...] = ()
    timezone: str = "UTC"
    features: tuple[Feature, ...] = ()
    pipelines: tuple[Pipeline, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """The catalog as plain JSON values; `from_document` reads it back without loss."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Catalog":
        """The catalog that `to_document` wrote, also before some of its parts existed."""
        return cls(
            events=tuple(EventSchema(**event) for event in document["events"]),
            attributes=dict(document["attributes"]),
            traits=tuple(Trait(**trait) for trait in document["traits"]),
            segments=tuple(Segment(**segment) for segment in document["segments"]),
            flags=tuple(_flag(flag) for flag in document["flags"]),
            exports=tuple(Export(**export) for export in document["exports"]),
            timezone=document.get("timezone", "UTC"),
            features=tuple(
                Feature(**{**feature, "windows": tuple(feature["windows"])}) for feature in document.get("features", ())
            ),
            pipelines=tuple(_pipeline(pipeline) for pipeline in document.get("pipelines", ())),
        )

    def digest(self) -> str:
        """Hex SHA-256 of the document: equal catalogs have equal digests."""
        return hashlib.sha256(json.dumps(self.to_document(), sort_keys=True).encode()).hexdigest()


def _flag(document: Mapping[str, Any]) -> Flag:
    return Flag(
        **{
            **document,
            "rules": tuple(Rule(**rule) for rule in document["rules"]),
            "variants": tuple(Variant(**variant) for variant in document["variants"]),
            "prerequisites": tuple(
                Prerequisite(each["flag"], tuple(each["variants"])) for each in document.get("prerequisites", ())
            ),
            "targets": tuple(Target(each["variant"], tuple(each["ids"])) for each in document.get("targets", ())),
        }
    )


def _pipeline(document: Mapping[str, Any]) -> Pipeline:
    events = (
        PipelineEvent(**{**event, "fields": tuple(PipelineField(**field) for field in event["fields"])})
        for event in document["events"]
    )
    return Pipeline(**{**document, "events": tuple(events)})
