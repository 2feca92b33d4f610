"""What the workflow, its tools and its models say to each other. All of it travels as JSON."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Errand(Value):
    """What the author wants to be told to whom. What was not said stays empty."""

    to: str | None = Field(
        default=None, pattern=r"^[^@\s<>]+@[^@\s<>]+$", description="The recipient's e-mail address"
    )
    name: str | None = Field(default=None, description="The recipient's name, if it was given")
    about: str | None = Field(
        default=None, description="What the mail is about, from the recipient's point of view"
    )
    style: str | None = Field(default=None, description="How it shall be written, in the author's words")

    @property
    def missing(self) -> list[str]:
        """What to ask the author for."""
        asked = ("to which address to write", self.to), ("what to write about", self.about)
        return [what for what, said in asked if said is None]


class Passage(Value):
    """A paragraph of a document. `document` is its file, `title` and `heading` are what it stands under."""

    document: str
    title: str
    heading: str
    text: str


class Passages(Value):
    passages: list[Passage]


class Point(Value):
    text: str = Field(description="What the recipient needs to know, in a sentence")
    quote: str = Field(description="What it rests on, word for word from one passage")
    document: str = Field(description="The file of that passage")


class Summary(Value):
    """What the passages say about it, the most important first. Empty if they say nothing about it."""

    points: list[Point]


class Draft(Value):
    """A mail to be read by its author first."""

    subject: str = Field(max_length=200)
    body: str
    remark: str | None = Field(
        default=None, description="To the author: what of their notes could not be done"
    )

    def __str__(self) -> str:
        remark = f"\n\n[{self.remark}]" if self.remark else ""
        return f"Subject: {self.subject}\n\n{self.body}{remark}"


class Verdict(StrEnum):
    SEND = "send"
    DISCARD = "discard"


class Sent(Value):
    to: str
    subject: str
    message_id: str


class NotSent(Value):
    """No mail was sent, and why."""

    reason: str
