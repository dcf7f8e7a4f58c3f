"""What becomes of a job's delivery: decided here, purely, from what happened to it."""

from dataclasses import replace
from enum import StrEnum

from libs.messages.calls import PROXY_HEAD, FailureCode, Reply, ReplyKind
from libs.messages.jobs import JobEvent, Outcome


class Settle(StrEnum):
    """How a delivery is settled."""

    ACK = "ack"
    """Done here for good: its outcome is stored, or somebody else's was, or the job does not want it any more."""
    HAND_BACK = "hand_back"
    """Not run to an end here: deliver it again, at once, to whoever has room."""
    DELAY = "delay"
    """It cannot be told whether to run it (the scheduler does not answer): deliver it again a little later."""
    DEAD_LETTER = "dead_letter"
    """Nobody can ever read it: keep its bytes with the reason, and never deliver it again."""


class Happened(StrEnum):
    """What happened to a delivery."""

    MALFORMED = "malformed"
    """It is not a job event."""
    DECLINED = "declined"
    """The scheduler said not to run it: canceled, ended, or claimed by another delivery."""
    UNCLAIMED = "unclaimed"
    """The scheduler did not answer."""
    RECORDED = "recorded"
    """It was run, or rejected for want of room, and the scheduler has stored that."""
    GIVEN_UP = "given_up"
    """This executor stops before it ended."""


_SETTLES = {
    Happened.MALFORMED: Settle.DEAD_LETTER,
    Happened.DECLINED: Settle.ACK,
    Happened.UNCLAIMED: Settle.DELAY,
    Happened.RECORDED: Settle.ACK,
    Happened.GIVEN_UP: Settle.HAND_BACK,
}


def settle(happened: Happened) -> Settle:
    """Return how to settle a delivery. It is acknowledged only when nothing can be lost by it."""
    return _SETTLES[happened]


def outcome(event: JobEvent, reply: Reply, *, sequence: int) -> Outcome:
    """Return how an attempt ended, for the scheduler. An attempt that found no room was not one (`rejected`)."""
    if reply.head == PROXY_HEAD:
        # What is to be fetched is fetched by a gateway for whoever called it, and nobody has called here.
        reply = replace(
            reply, status=0, head=b"", body=b"", body_ref="", code=FailureCode.INVALID_RESPONSE, message="a job cannot proxy"
        )
    return Outcome(
        job_id=event.job_id,
        attempt=event.attempt,
        sequence=sequence,
        status=reply.status,
        head=reply.head,
        body=reply.body,
        body_ref=reply.body_ref,
        code=reply.code,
        message=reply.message,
        rejected=reply.kind is ReplyKind.BUSY or (reply.code is FailureCode.TIMEOUT and reply.stage == "queue"),
        duration_us=reply.run_us,
    )


def was_given_up(reply: Reply, *, stopping: bool) -> bool:
    """Return whether an attempt did not end by itself but because this executor stops."""
    return stopping and reply.kind is not ReplyKind.ANSWER and reply.code in (FailureCode.NONE, FailureCode.UNAVAILABLE)
