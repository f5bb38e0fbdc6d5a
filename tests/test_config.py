"""The configuration loader: precedence, error messages, and protection of secrets."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sfu import config
from sfu.errors import ConfigurationError

SECRET = "a-secret-of-thirty-two-bytes-or-more"


def test_defaults() -> None:
    assert config.load() == config.Settings()


def test_precedence(tmp_path: Path) -> None:
    file = tmp_path / "sfu.yaml"
    file.write_text("http: {port: 1, host: file, body_limit_bytes: 2048}\nlog:\n")
    environment = {"SFU_CONFIG": "http: {port: 2, host: inline}", "SFU_HTTP__HOST": "environment"}
    http = config.load(file=str(file), environment=environment, flags=[("http.host", "flag")]).http
    assert (http.body_limit_bytes, http.port, http.host) == (2048, 2, "flag")
    assert config.load(environment=environment | {"SFU_CONFIG_FILE": str(file)}).http.host == "environment"


@pytest.mark.parametrize(
    ("key", "word", "value"),
    [
        ("http.port", "8080", 8080),
        ("http.host", "8080", "8080"),
        ("http.host", "yes", "yes"),
        ("http.host", "", ""),
        ("http.metrics", "false", False),
        ("http.metrics", "off", False),
        ("http.request_header_timeout", "2", 2.0),
        ("http.allowed_origins", "https://a.example, https://b.example", ("https://a.example", "https://b.example")),
        ("http.allowed_origins", '["https://a.example"]', ("https://a.example",)),
        ("http.allowed_origins", "", ()),
        ("log.level", "debug", "debug"),
        ("auth.keys", f"app: {SECRET}", {"app": SECRET}),
    ],
)
def test_values_from_text(key: str, word: str, value: object) -> None:
    section, _, name = key.partition(".")
    by_flag = config.load(flags=[(key, word)])
    by_environment = config.load(environment={f"SFU_{section}__{name}".upper().replace("SFU_", "SFU_", 1): word})
    assert getattr(getattr(by_flag, section), name) == value
    assert by_flag == by_environment


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("htp: {port: 1}", "htp (SFU_CONFIG) is not a setting"),
        ("http: {prot: 1}", "http.prot (SFU_CONFIG) is not a setting; did you mean http.port?"),
        ("port: 1", "port (SFU_CONFIG) is not a setting; did you mean http.port?"),
        ("http: {port_file: 1}", "http.port_file (SFU_CONFIG) is not a setting; did you mean http.port?"),
        ("auth: {key_file: x}", "did you mean auth.keys_file?"),
        ("http: 7", "http (SFU_CONFIG) is not a setting"),
        ("zzz: 7", "`sfu config schema` lists all settings."),
        ("http: {port: '80'}", "http.port '80' (SFU_CONFIG): expected int, got str."),
        ("http: {port: 70000}", "http.port 70000 (SFU_CONFIG): expected int <= 65535."),
        ("http: {metrics: 1}", "http.metrics 1 (SFU_CONFIG): expected bool, got int."),
        (
            "http: {allowed_origins: https://a}",
            "http.allowed_origins 'https://a' (SFU_CONFIG): expected array, got str.",
        ),
        ("log: {level: loud}", "log.level 'loud' (SFU_CONFIG): invalid enum value 'loud'."),
        ("http: {tls_key: k.pem}", "http.tls_certificate and http.tls_key must be set together"),
        ("http: [", "SFU_CONFIG, line 1: invalid YAML"),
        ("- a", "must be a mapping"),
        ("auth: {keys: [1]}", "auth.keys (SFU_CONFIG): expected object, got array."),
        (f"auth: {{keys: {{'': {SECRET}}}}}", "key without a name"),
        ("auth: {keys_file: /nowhere}", "auth.keys_file /nowhere cannot be read: No such file or directory."),
        ("auth: {keys: {}, keys_file: /dev/null}", "both set"),
    ],
)
def test_refused(document: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.load(environment={"SFU_CONFIG": document})
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"SFU_HTTP__PORT": "x"}, "http.port 'x' (SFU_HTTP__PORT): expected int, got str."),
        ({"SFU_HTTP__PROT": "1"}, "http.prot (SFU_HTTP__PROT) is not a setting; did you mean http.port?"),
        ({"SFU_CONFIG_FILE": "/nowhere"}, "the configuration file /nowhere cannot be read"),
    ],
)
def test_refused_environment(environment: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.load(environment=environment)
    assert complaint in str(caught.value)


def test_service_variables_of_kubernetes_are_ignored() -> None:
    environment = {"SFU_SERVICE_HOST": "10.0.0.1", "SFU_PORT_7880_TCP": "tcp://10.0.0.1:7880"}
    assert config.load(environment=environment) == config.Settings()


def test_secret_files(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"app: {SECRET}\n")
    by_file = config.load(environment={"SFU_AUTH__KEYS_FILE": str(file)})
    assert by_file.auth.keys == {"app": SECRET}
    assert config.load(flags=[("auth.keys_file", str(file))]) == by_file
    later = config.load(
        environment={"SFU_CONFIG": f"auth: {{keys: {{old: {SECRET}}}}}"}, flags=[("auth.keys_file", str(file))]
    )
    assert later.auth.keys == {"app": SECRET}
    file.write_text('{"keys": []}\n')
    assert config.load(flags=[("auth.jwks_file", str(file))]).auth.jwks == '{"keys": []}'


@pytest.mark.parametrize(
    "word", [SECRET, f"app: [{SECRET}]", f"app: {{{SECRET}", f"[{SECRET}]", f"? {SECRET}\n- x", f"'{SECRET}"]
)
def test_secrets_never_shown_in_errors(word: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(word)
    for flag in (("auth.keys", word), ("auth.keys_file", str(file))):
        with pytest.raises(ConfigurationError) as caught:
            config.load(flags=[flag])
        assert SECRET not in str(caught.value)
        assert "auth.keys" in str(caught.value)


def test_secrets_never_shown_in_settings() -> None:
    settings = config.load(flags=[("auth.keys", f"app: {SECRET}")])
    assert SECRET not in repr(settings)
    assert SECRET not in yaml.safe_dump(config.shown(settings))
    assert config.shown(settings)["auth"]["keys"] == {"app": "***"}


def test_shown_can_be_loaded_again() -> None:
    document = yaml.safe_dump(config.shown(config.Settings()))
    assert config.load(environment={"SFU_CONFIG": document}) == config.Settings()


def test_schema() -> None:
    schema = config.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(config.shown(config.Settings()))
    validator.validate({"auth": {"keys_file": "k"}})
    bad: list[dict[str, Any]] = [{"htp": {}}, {"http": {"prot": 1}}, {"http": {"port": "x"}}, {"http": {"port": 70000}}]
    for document in bad:
        assert not validator.is_valid(document)
    json.dumps(schema)


def test_every_option_has_a_description() -> None:
    for key, option in config.options(config.Settings).items():
        assert option.description.endswith("."), key
    for section in dataclasses.fields(config.Settings):
        assert config.descriptions(config.Settings)[section.name]
