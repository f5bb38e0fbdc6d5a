"""Documents against the code: what they name exists, their examples are valid, and generated files are current."""

import argparse
import ast
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image

from sfu import cli, config
from sfu.bots import cli as bots_cli
from sfu.egress import offline_mix
from tests import documents
from tests.documents import ROOT
from tests.support.metrics import all_collectors

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "sfu" / "ARCHITECTURE.md"
OPERATIONS = ROOT / "sfu" / "OPERATIONS.md"
HISTORY = ROOT / "CHANGELOG.md"
DOCUMENTS = (
    README,
    HISTORY,
    ROOT / ".github" / "CONTRIBUTING.md",
    *sorted((ROOT / "sfu").glob("*.md")),
    *sorted((ROOT / "sfu").glob("*/*.md")),
    ROOT / "helm" / "README.md",
    *sorted((ROOT / "tests").glob("*/README.md")),
    ROOT / "web" / "client" / "README.md",
)
CURRENT = tuple(path for path in DOCUMENTS if path != HISTORY)
"""The changelog also names what no longer exists."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def prose_of(path: Path) -> str:
    """Without fenced code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)


@cache
def spans(path: Path) -> tuple[str, ...]:
    """Code spans of the prose."""
    return tuple(" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose_of(path)))


@pytest.mark.parametrize("path", documents.GENERATED, ids=name_of)
def test_generated_documents_are_current(path: Path) -> None:
    assert text_of(path) == documents.GENERATED[path](), "run `make docs`"


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 200
    assert not set(documents.settings().splitlines()) & {line for line in text_of(README).splitlines() if "| `" in line}


# -- links --------------------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ +(.+)$", prose_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_resolve(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


def test_every_document_can_be_found_from_the_readme() -> None:
    linked, queue = {README}, [README]
    while queue:
        path = queue.pop()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose_of(path)):
            found = (path.parent / target).resolve()
            if found in DOCUMENTS and found not in linked:
                linked.add(found)
                queue.append(found)
    assert {name_of(path) for path in DOCUMENTS} == {name_of(path) for path in linked}


# -- commands -----------------------------------------------------------------------------------------------------------

COMMAND = re.compile(r"(?:^ *|\$\(|`|-- )(sfu [a-z][^`)#\n]*)", re.MULTILINE)
NAMED_ONLY = (["egress"], ["config"])
"""Named in a sentence, without one of their commands."""
LAZY = {"bot": bots_cli.add_arguments, "mix": offline_mix.add_arguments}
"""Commands whose arguments `sfu.cli` loads when they are used."""


def commands() -> list[str]:
    return sorted({found.strip() for path in CURRENT for found in COMMAND.findall(text_of(path))})


@pytest.mark.parametrize("line", commands())
def test_commands_exist(line: str) -> None:
    _, command, *words = shlex.split(line.replace("…", "TOKEN"))
    if command in LAZY:
        assert cli._parser().parse_args([command]).run is not None
        parser = argparse.ArgumentParser()
        LAZY[command](parser)
        if words:
            parser.parse_args(words)
    elif [command, *words] not in NAMED_ONLY:
        assert cli._parser().parse_args([command, *words]).run is not None


def test_make_targets_exist() -> None:
    makefile = text_of(ROOT / "Makefile")
    named = {found for path in CURRENT for found in re.findall(r"(?:^|`)make ([a-z-]+)", text_of(path), re.MULTILINE)}
    assert {target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_modules_that_are_run_exist() -> None:
    named = {found for path in CURRENT for found in re.findall(r"python -m ([\w.]+)", text_of(path))}
    own = {module for module in named if module.split(".")[0] in ("sfu", "tests")}
    assert own
    assert {module for module in own if _module(module) is None} == set()


def _module(dotted: str) -> Path | None:
    path = ROOT.joinpath(*dotted.split("."))
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


# -- settings, metrics, alerts ------------------------------------------------------------------------------------------

SETTING = re.compile(rf"(?:config\.)?((?:{'|'.join(config.shown(config.Settings()))})\.[a-z0-9_.*…]+)(?:: .*|=.*)?")


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_settings_exist(path: Path) -> None:
    options = config.options(config.Settings)
    known = {*options, *(f"{key}_file" for key, option in options.items() if option.from_file)}
    named = {found[1] for span in spans(path) if (found := SETTING.fullmatch(span))}
    unknown = {
        name
        for name in named
        if name not in known and not any(key.startswith(name.rstrip("*….") + ".") for key in options)
    }
    files = {name for name in unknown if name.endswith(".jsonl") or (ROOT / "sfu" / name).is_file()}
    assert unknown - files == set()


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of all metric families."""
    return {
        family.name
        for collector in all_collectors(tmp_path_factory.mktemp("certificate"))
        for family in collector.collect()
    }


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_metrics_exist(path: Path, metrics: set[str]) -> None:
    known = {f"{name}{end}" for name in metrics for end in ("", "_total", "_bucket", "_sum", "_count")}
    named = {span for span in spans(path) if re.fullmatch(r"sfu_[a-z_…*]+", span)}
    assert {
        name
        for name in named
        if name not in known and not (name[-1] in "…*" and any(each.startswith(name[:-1]) for each in known))
    } == set()


def test_alerts_exist_and_are_explained() -> None:
    rules = yaml.safe_load(text_of(ROOT / "helm" / "files" / "rules.yaml"))
    known = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    alerts = {path: {span for span in spans(path) if re.fullmatch(r"Sfu[A-Z]\w+", span)} for path in CURRENT}
    assert set().union(*alerts.values()) <= known
    assert alerts[OPERATIONS] == known


@pytest.mark.parametrize("path", [README, OPERATIONS], ids=name_of)
def test_configurations_are_valid(path: Path) -> None:
    found = re.findall(r"^```yaml\n(.*?)^```$", text_of(path), re.MULTILINE | re.DOTALL)
    found += re.findall(r"<<'YAML'\n(.*?)^YAML$", text_of(path), re.MULTILINE | re.DOTALL)
    assert found
    for document in found:
        jsonschema.validate(yaml.safe_load(document), config.schema())


def test_the_plugin_example(tmp_path: Path) -> None:
    (source,) = re.findall(r"<!-- example: plug-in -->\n```python\n(.*?)^```$", text_of(OPERATIONS), re.M | re.S)
    picture = tmp_path / "onair.png"
    Image.fromarray(np.full((32, 64, 4), 255, np.uint8)).save(picture)
    shown: list[tuple[object, ...]] = []

    class Context:
        def show(self, name: str, overlay: object, x: int = 0, y: int = 0) -> None:
            shown.append((name, type(overlay).__name__, x, y))

    scope: dict[str, object] = {}
    exec(source, scope)
    plugin_class = scope["OnAir"]
    assert isinstance(plugin_class, type)
    plugin = plugin_class({"file": str(picture)})
    plugin.start(Context())
    assert shown == [("on air", "Overlay", 32, 32)]
    assert plugin.inputs.mix_pictures
    (comment,) = re.findall(r"^# sfu.yaml: +(.*)$", source, re.MULTILINE)
    jsonschema.validate(yaml.safe_load(comment), config.schema())


# -- names in ARCHITECTURE.md -------------------------------------------------------------------------------------------

IDENTIFIER = re.compile(r"_?[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?(\(\))?")
OTHERS = {
    "ffi", "lib", "srtp_protect", "srtp_unprotect", "srtp_protect_rtcp", "srtp_unprotect_rtcp", "srtp_remove_stream",
    "RTCSctpTransport", "RTCDataChannel", "RTCSctpCapabilities", "RTCPeerConnection", "RTCDtlsTransport", "Policy",
    "Session.protect", "SSL.Context", "SSL.Connection", "Error", "export_keying_material", "crypto.dump_certificate",
    "Protocol", "NewType", "SIGTERM",
}  # fmt: skip
"""Names of other libraries."""


@cache
def definitions(path: Path) -> dict[str, set[str]]:
    """Names that a module defines at its top, with the members of each class."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in ast.parse(text_of(path)).body:
        for name in _bound(node):
            found[name] |= set()
        if isinstance(node, ast.ClassDef):
            found[node.name] |= {name for each in node.body for name in _bound(each)}
            found[node.name] |= {
                each.attr
                for each in ast.walk(node)
                if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)
            }
    return found


def _bound(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=targets):
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))


def defines(path: Path, name: str) -> bool:
    name, _, member = name.removesuffix("()").partition(".")
    return name in definitions(path) and (not member or member in definitions(path)[name])


def modules() -> list[Path]:
    return sorted((ROOT / "sfu").rglob("*.py"))


def path_named(span: str) -> Path | None:
    """The file or directory that a span names, relative to `sfu/` or to the top."""
    return next((path for path in (ROOT / "sfu" / span, ROOT / span) if path.exists()), None)


def is_path(span: str) -> bool:
    return "/" in span or re.fullmatch(r"[\w-]+\.(py|md|toml|js)", span) is not None


def exists(span: str) -> bool:
    if is_path(span):
        return path_named(span) is not None
    if span.startswith("sfu."):
        module, _, name = span.rpartition(".")
        owner = _module(module)
        return _module(span) is not None or (owner is not None and defines(owner, name))
    return span in OTHERS or any(defines(path, span) for path in modules())


def named_in_architecture() -> list[str]:
    commands = re.compile(r"sfu [a-z]|\*$")
    settings = config.options(config.Settings)
    return sorted(
        {span for span in spans(ARCHITECTURE) if not commands.match(span) and span not in settings and span != "sfu"}
    )


@pytest.mark.parametrize("span", named_in_architecture())
def test_names_in_the_architecture_exist(span: str) -> None:
    assert is_path(span) or IDENTIFIER.fullmatch(span) or span.startswith("sfu."), "neither a path nor a name"
    assert exists(span)


def journeys() -> list[tuple[str, list[str]]]:
    """Rows of the tables with the columns step, file and names."""
    rows = []
    for line in text_of(ARCHITECTURE).splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")]
        if len(cells) == 3 and len(cells[1]) == 1 and cells[1][0].endswith(".py"):
            rows.append((cells[1][0], cells[2]))
    return rows


def test_the_journeys_name_what_their_files_define() -> None:
    rows = journeys()
    assert len(rows) > 30
    assert [(file, name) for file, names in rows for name in names if not defines(ROOT / "sfu" / file, name)] == []


def test_the_architecture_names_every_package() -> None:
    packages = {path.parent.name for path in (ROOT / "sfu").glob("*/__init__.py")}
    table = text_of(ARCHITECTURE).partition("| package | content |")[2].partition("\n\n")[0]
    assert packages <= set(re.findall(r"^\| `(\w+)/`", table, re.MULTILINE))


def test_the_protocol_names_every_reason_of_leave() -> None:
    schema = json.loads(text_of(ROOT / "sfu" / "signaling" / "schema.json"))
    leave = next(one for name, one in schema["$defs"].items() if name == "Leave")
    reasons = set(leave["properties"]["reason"].get("enum", ()))
    assert reasons
    assert reasons <= set(spans(ROOT / "sfu" / "signaling" / "PROTOCOL.md"))
