"""What the service takes and gives, as pydantic models: the OpenAPI document is made of them."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    model_validator,
)

MAX_ITEMS = 32
MAX_CHARACTERS = 20_000
MAX_FIELDS = 8


# Whether it has anything to read is checked later, in `api`: that may take long.
Text = Annotated[
    str, Field(min_length=1, max_length=MAX_CHARACTERS, examples=["A moving, clever film."])
]


def _kind(value: Any) -> str | None:
    return "text" if isinstance(value, str) else "texts" if isinstance(value, list) else None


class Request(BaseModel):
    """What a request may hold: no field that is not known."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def has_few_fields(cls, value: Any) -> Any:
        """Refused once: the answer would name each field, and be longer than the request."""
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise ValueError("there are fields that are not known")
        return value


class PredictIn(Request):
    """One review, or up to 32."""

    inputs: Annotated[
        Annotated[Text, Tag("text")]
        | Annotated[list[Text], Field(min_length=1, max_length=MAX_ITEMS), Tag("texts")],
        Discriminator(
            _kind,
            custom_error_type="type",
            custom_error_message="Input should be a text or a list of texts",
        ),
    ]


class ExplainIn(Request):
    """One review."""

    inputs: Text


class PredictionOut(BaseModel):
    """A label, its probability, and whether the review was too long and shortened."""

    label: str
    score: float = Field(ge=0, le=1)
    truncated: bool


class PredictOut(RootModel[list[PredictionOut] | list[list[PredictionOut]]]):
    """For one text a list of one prediction; for a list such a list for each text."""


class WordOut(BaseModel):
    """A word and its push: above 0 towards POSITIVE; null where the review was shortened."""

    text: str
    weight: float | None


class ExplainOut(PredictionOut):
    """A prediction with its words, and the share of their push that the weights miss."""

    words: list[WordOut]
    completeness_error: float = Field(ge=0)


class HealthOut(BaseModel):
    """Whether the service is alive, or ready."""

    status: str


class Limits(BaseModel):
    """What a request may hold, and how long it may take."""

    max_items: int
    max_characters: int
    max_body_bytes: int
    max_tokens: int
    deadline_seconds: float


class InfoOut(BaseModel):
    """The model behind the service."""

    version: str
    model: str | None
    trained_on: str | None  # null where it was converted from a pickle, which does not say
    labels: list[str]
    model_sha256: str
    runtime: str
    runtime_because: str | None
    precision: str
    limits: Limits
