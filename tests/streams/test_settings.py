"""What the environment says, and what is refused in it."""

import ssl
from pathlib import Path

import pytest

from segue.processors.limits import LIMITS, Limits
from segue.streams.settings import RENAMED, Settings
from segue.topics.errors import BadInput


def refused(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as caught:
        Settings.load()
    return str(caught.value)


def test_without_an_environment_the_local_broker_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert (settings.bootstrap, settings.replication) == ("127.0.0.1:9092", 1)
    assert settings.state_dir == tmp_path / ".segue"
    assert settings.client_options() == {
        "bootstrap_servers": "127.0.0.1:9092",
        "client_id": "segue",
        "security_protocol": "PLAINTEXT",
    }


@pytest.mark.parametrize(("name", "meant"), [("KAFAK", "KAFKA"), ("PARTITION", "PARTITIONS")])
def test_a_name_that_is_nearly_one_is_refused(name: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        refused(monkeypatch, **{f"SEGUE_{name}": "x"})
        == f"SEGUE_{name} is not a setting: did you mean SEGUE_{meant}?"
    )


@pytest.mark.parametrize(("former", "now"), RENAMED.items())
def test_a_former_name_is_refused_with_the_new_one(
    former: str, now: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert now in Settings.model_fields
    refusal = f"SEGUE_{former.upper()} has a new name: set SEGUE_{now.upper()} instead"
    assert refused(monkeypatch, **{f"SEGUE_{former.upper()}": "x"}) == refusal


@pytest.mark.parametrize(
    "name", ["SEGUE_APP", "SEGUE_MODEL", "SEGUE_KAFKA_PORT", "SEGUE_WORKER_SERVICE_HOST"]
)
def test_names_of_others_are_let_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:9092")
    assert Settings.load().kafka is None


def test_a_cluster_elsewhere_decides_on_its_own_replication() -> None:
    settings = Settings.load(kafka="one:9092,two:9092", worker_id="w1")
    assert (settings.bootstrap, settings.replication) == ("one:9092,two:9092", -1)
    assert settings.client_options()["client_id"] == "segue-w1"


def test_names_on_the_cluster_begin_with_the_prefix() -> None:
    settings = Settings.load(topic_prefix="team-a.")
    assert (settings.topic("events"), settings.group("conduct")) == ("team-a.events", "team-a.segue-conduct")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_KAFKA", "")
    assert Settings.load().kafka is None


def test_a_bad_value_is_refused_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(monkeypatch, SEGUE_PARTITIONS="many", SEGUE_GUARANTEE="mostly") == (
        "SEGUE_GUARANTEE: Input should be 'exactly_once' or 'at_least_once'\n"
        "SEGUE_PARTITIONS: Input should be a valid integer, unable to parse string as an integer"
    )


def test_sasl_and_tls_become_options_of_every_client() -> None:
    options = Settings.load(
        kafka="cluster:9093",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="segue",
        sasl_password="secret",
    ).client_options()
    assert isinstance(options.pop("ssl_context"), ssl.SSLContext)
    assert options == {
        "bootstrap_servers": "cluster:9093",
        "client_id": "segue",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "segue",
        "sasl_plain_password": "secret",
    }


def test_secrets_are_not_shown() -> None:
    settings = Settings.load(
        kafka="cluster:9093", security_protocol="SASL_SSL", sasl_username="segue", sasl_password="secret"
    )
    assert "secret'" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"SEGUE_KAFKA": "c:9093", "SEGUE_SECURITY_PROTOCOL": "SASL_SSL", "SEGUE_SASL_USERNAME": "me"},
            "SASL_SSL needs SEGUE_SASL_USERNAME and SEGUE_SASL_PASSWORD",
        ),
        (
            {"SEGUE_KAFKA": "c:9093", "SEGUE_SASL_PASSWORD": "secret"},
            "SEGUE_SASL_… has no effect without SASL: set SEGUE_SECURITY_PROTOCOL to SASL_SSL, or unset it",
        ),
        (
            {"SEGUE_SECURITY_PROTOCOL": "SSL"},
            "SEGUE_SECURITY_PROTOCOL needs SEGUE_KAFKA: the local broker is PLAINTEXT",
        ),
        ({"SEGUE_SSL_CAFILE": "/nowhere"}, "SEGUE_SSL_CAFILE: Path does not point to a file"),
    ],
)
def test_security_that_would_not_be_in_force_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    assert refused(monkeypatch, **environment) == message


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("not a certificate")
    settings = Settings.load(kafka="c:9093", security_protocol="SSL", ssl_cafile=authority)
    with pytest.raises(BadInput, match="certificate or key can't be read"):
        settings.client_options()


def test_a_limit_of_the_cluster_is_shared_out_among_its_partitions() -> None:
    settings = Settings.load(partitions=4, open_tasks_per_tenant_max=10, steps_max=7)
    assert settings.limits == Limits(open_tasks_per_tenant_max=3, steps_max=7)
    assert Settings.load().limits == LIMITS
