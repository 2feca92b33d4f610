import logging

from segue.streams.observability.log_throttle import LogThrottle


def said(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", logging.WARNING, "", 0, message, arguments, None)


def test_a_wording_is_said_once_whatever_its_arguments() -> None:
    seldom = LogThrottle()
    heard = [seldom.filter(said("can't reach %s", node)) for node in (1, 1, 2)]
    assert heard == [True, False, False]


def test_another_wording_is_heard() -> None:
    seldom = LogThrottle()
    assert [seldom.filter(said(message)) for message in ("away", "back")] == [True, True]
