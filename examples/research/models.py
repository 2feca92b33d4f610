"""What the workflow, its tools and its models say to each other. All of it travels as JSON."""

from pydantic import BaseModel, ConfigDict, Field


class Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Questions(Value):
    """What has to be looked up to answer the question: one thing each, in a few words."""

    questions: list[str] = Field(min_length=1, max_length=12)


class Passage(Value):
    """A paragraph of a document. `id` is the document's file and the number of the paragraph."""

    id: str
    document: str
    year: int
    text: str


class Passages(Value):
    passages: list[Passage]


class Claim(Value):
    """A sentence of the answer."""

    question: str = Field(description="Which of the questions it answers")
    quote: str = Field(description="A sentence of the source, word for word")
    source: str = Field(description="The id of the passage that it is quoted from")


class Draft(Value):
    claims: list[Claim]
    unanswered: list[str] = Field(default=[], description="Questions that no passage answers")


class Objection(Value):
    """What is wrong with a draft. `search` is what to look for, where that could mend it."""

    about: str = Field(description="The source of the claim, or the question that is not answered")
    problem: str
    search: str | None = None


class Verdict(Value):
    """What a critic makes of a draft: without objections its sources hold."""

    objections: list[Objection]


class Report(Value):
    """Where the report was written, and what it rests on."""

    file: str
    claims: int
    sources: list[str]
    rounds: int
    unsettled: list[str]
