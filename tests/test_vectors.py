"""The conformance vectors: current, independent of the package, met by every engine, and safe to read from anyone."""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import json
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import exact
import high_precision
import make_vectors
import mutants
import numpy as np
import pytest
import right
from every_engine import EVERY
from high_precision import mp
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import Tally

import indrnn_np as ir
from indrnn_np import recurrence
from indrnn_np.activations import resolve
from indrnn_np.oracle import candidates, references, vectors
from indrnn_np.oracle.installation import DTYPES
from indrnn_np.oracle.report import SHARP
from indrnn_np.oracle.vectors import RESULTS, Vector, read_vectors, write_vectors

NAMES = tuple(make_vectors.RECIPES)
VECTORS = read_vectors(make_vectors.FOLDER)
ROUNDED = [vector for vector in VECTORS if not vector.exact]


def by_id(id: str) -> Vector:
    return next(vector for vector in VECTORS if vector.id == id)


def wrong(vector: Vector, dtype: str, got: dict[str, np.ndarray]) -> list[str]:
    """Which results are off by more than allowed, in some element."""
    return [name for name, want in vector.results.items()
            if not (np.abs(got[name].astype(np.float64) - want) <= vector.allowed[dtype][name]).all()]


def run(candidate: Callable[..., dict[str, np.ndarray]], vector: Vector, dtype: str) -> dict[str, np.ndarray]:
    return candidate(**vector.case(dtype).arrays(), activation=vector.activation)


# Where they come from.


def test_the_committed_vectors_are_what_the_generator_makes() -> None:
    for name, text in make_vectors.documents().items():
        assert (make_vectors.FOLDER / name).read_bytes() == text.encode(), f"{name}: run tests/make_vectors.py"


def test_the_generators_import_nothing_of_the_package_and_no_numpy() -> None:
    for module in (exact, high_precision, make_vectors):
        imported = [node for node in ast.walk(ast.parse(inspect.getsource(module)))
                    if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in imported for alias in node.names} | {
            node.module for node in imported if isinstance(node, ast.ImportFrom)}
        assert not any(str(name).startswith(("indrnn_np", "numpy")) for name in names)


def test_every_recipe_is_committed_and_every_flag_is_carried() -> None:
    made = sum(len(recipes) for table in (make_vectors.RECIPES, make_vectors.PLACED) for recipes in table.values())
    assert len(VECTORS) == made
    assert {flag for vector in VECTORS for flag in vector.flags} == set(make_vectors.FLAGS)
    assert {vector.activation for vector in VECTORS} == {*ir.ACTIVATIONS, "leaky_relu(0.125)"}
    for name in NAMES:
        assert name == "identity" or any("kink" in v.flags for v in VECTORS if v.exact and v.activation == name)
    assert sum(path.stat().st_size for path in make_vectors.FOLDER.iterdir()) < 600_000


def test_flags_that_the_generator_takes_from_a_name_are_true() -> None:
    for vector in ROUNDED:
        x, W, u, b, h0, _ = vector.arguments.values()
        a = x @ W.T + b
        h = vector.results["h"]
        slopes = resolve(vector.activation).slope(a + u * np.concatenate([h0[None], h[:-1]]))
        share = np.abs(u * slopes).prod(axis=0)
        assert ("vanishing" not in vector.flags) or 0 < share.max() < 1e-3, vector.id
        assert ("saturated" in vector.flags) == (0 < slopes.min() < 0.009), vector.id


def test_the_gradients_are_the_derivatives_of_the_states_to_thirty_digits() -> None:
    """Central differences of J in 60-digit arithmetic, along every argument at once in a random direction."""
    step = mp.mpf(10) ** -20
    rng = np.random.default_rng(1)
    for activation in make_vectors.PLACED:
        arguments = make_vectors.place(make_vectors.EVERYWHERE["small"], activation, "derivatives")
        σ = high_precision.ACTIVATIONS[activation]
        given_ = high_precision.Arguments(*high_precision.exactly([arguments[k] for k in make_vectors.ARGUMENTS]))
        flat = make_vectors.flat
        ways = {name: [mp.mpf(v) for v in rng.standard_normal(len(flat(arguments[name])))]
                for name in make_vectors.ARGUMENTS if name != "dh"}

        def moved(nested: Any, way: list[Any], by: Any) -> Any:
            return ([moved(part, way, by) for part in nested] if isinstance(nested, list)
                    else nested + by * way.pop(0))

        def J(by: Any) -> Any:
            there = given_._replace(**{name: moved(getattr(given_, name), list(way), by) for name, way in ways.items()})
            h = high_precision.results(there, high_precision.columns(there, σ))["h"]
            return sum(p * q for p, q in zip(flat(given_.dh), flat(h), strict=True))

        numerical = (J(step) - J(-step)) / (2 * step)
        gradients = high_precision.results(given_, high_precision.columns(given_, σ))
        along = sum(p * q for name, way in ways.items() for p, q in zip(flat(gradients["d" + name]), way, strict=True))
        assert abs(numerical - along) < mp.mpf(10) ** -30 * abs(along)


@pytest.mark.parametrize("id", ["small", "negative-u", "one", "exploding"])
@pytest.mark.parametrize("activation", list(make_vectors.PLACED))
def test_values_and_allowed_errors_agree_with_the_complex_step_reference(activation: str, id: str) -> None:
    vector = by_id(f"{activation}-{id}")
    for dtype in DTYPES:
        if np.finfo(np.longdouble).eps >= np.finfo(dtype).eps:
            continue  # there the reference allows for its own rounding
        case = vector.case(dtype)
        reference = references.by_complex_step(case, vector.results["h"].astype(dtype))
        for name, want in vector.results.items():
            allowed = vector.allowed[dtype][name]
            assert (np.abs(reference.value[name] - want) <= vector.allowed["float64"][name]).all()
            share = (allowed / reference.allowed[name]).astype(float)
            assert ((share > 0.5) & (share < 2)).all(), (name, share.min(), share.max())


def test_a_pre_activation_within_rounding_of_the_kink_is_refused() -> None:
    one = mp.mpf(1)
    relu = high_precision.ACTIVATIONS["relu"]
    for h0, raises in ((one, True), (one + one / 2**20, False)):
        given_ = high_precision.Arguments([[[-one]]], [[one]], [one], [0 * one], [[h0]], [[[3 * one]]])
        columns = high_precision.columns(given_, relu)
        if raises:
            with pytest.raises(high_precision.NearKink):
                high_precision.allowed(given_, columns, relu, high_precision.FORMATS["float32"])
        else:
            high_precision.allowed(given_, columns, relu, high_precision.FORMATS["float32"])


@given(st.floats(min_value=1e-307, max_value=1e300), st.integers(1, 10**6))
@settings(max_examples=200)
def test_allowed_errors_are_rounded_up_and_by_little(value: float, excess: int) -> None:
    bound = mp.mpf(value) * (1 + mp.mpf(10) ** -20 * excess)
    assert bound <= make_vectors.rounded_up(bound) <= bound * 1.011


# What they see.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("engine", EVERY)
def test_every_engine_meets_every_vector(engine: str, dtype: str) -> None:
    for vector in VECTORS:
        got = run(candidates.from_engine(engine), vector, dtype)
        assert all(array.dtype == dtype for array in got.values())
        assert not wrong(vector, dtype, got), vector.id


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("engine", EVERY)
def test_every_engine_meets_the_exact_values_in_every_bit(engine: str, activation: str, dtype: str) -> None:
    candidate = candidates.from_engine(engine)
    cases = vectors.cases(activation, dtype)
    assert len(cases) >= 4
    for case in cases:
        got = candidate(**case.arrays(), activation=activation)
        for name, want in vectors.expected(case.id).items():
            assert np.array_equal(got[name], want), (case.id, name)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("order", ["random", "largest first", "positive first"])
def test_no_right_implementation_is_accused_whatever_its_order_of_operations(order: str, fused: bool) -> None:
    for vector in VECTORS:
        for dtype in DTYPES:
            assert not wrong(vector, dtype, right.loop(vector.case(dtype), order, 0, fused)), (vector.id, dtype)


def test_the_allowed_errors_are_small_against_the_values() -> None:
    for vector in ROUNDED:
        for dtype in DTYPES:
            for name, want in vector.results.items():
                if (want != 0).any():
                    shares = vector.allowed[dtype][name][want != 0] / np.abs(want[want != 0])
                    assert np.median(shares) <= SHARP, (vector.id, dtype, name)


def test_du_off_by_one_per_cent_is_seen_in_float32() -> None:
    seen = [vector.id for vector in VECTORS
            if wrong(vector, "float32", {**vector.results, "du": np.float32(1.01) * vector.results["du"]})]
    unseen = {vector.id for vector in VECTORS} - set(seen)
    assert unseen == {"relu-on-the-kink", "leaky_relu-on-the-kink"}, "there du is 0"


@pytest.mark.parametrize("mutant", [m for m in mutants.MUTANTS if m.module is recurrence], ids=lambda m: m.name)
def test_planted_mistakes_fail(mutant: mutants.Mutant) -> None:
    """In every activation in which they change a number, though not in every case."""
    candidate = candidates.from_engine_module(mutants.build(mutant))
    with np.errstate(all="ignore"):
        caught = {vector.activation.partition("(")[0] for vector in VECTORS if "one-step" not in vector.flags
                  and wrong(vector, "float32", run(candidate, vector, "float32"))}
    assert caught == set(ir.ACTIVATIONS) - set(mutant.harmless_in)


# Written and read.


def test_they_are_written_whole_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("kept")
    for _ in range(2):
        written = write_vectors(str(folder))
        assert written[-1].name == "manifest.json"
        assert {path.name for path in folder.iterdir()} == {path.name for path in written} | {"mine.txt"}
    assert (folder / "mine.txt").read_text() == "kept"
    for one, other in zip(read_vectors(folder), VECTORS, strict=True):
        assert (one.id, one.activation, one.flags) == (other.id, other.activation, other.flags)
        for dtype in DTYPES:
            assert all(np.array_equal(one.allowed[dtype][name], other.allowed[dtype][name]) for name in RESULTS)
        assert all(np.array_equal(one.results[name], other.results[name]) for name in RESULTS)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    write_vectors(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_vectors(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    for folder, error, message in ((3, TypeError, "folder: expected a path; got int"), ("", ValueError, "folder"),
                                   (tmp_path / "no", FileNotFoundError, "no/manifest.json")):
        with pytest.raises(error, match=message):
            read_vectors(folder)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="folder: expected a path; got int"):
        write_vectors(3)  # type: ignore[arg-type]


def test_what_a_case_holds_is_the_callers_to_change() -> None:
    before = vectors.expected("exact-relu-small")["du"]
    vectors.expected("exact-relu-small")["du"][:] = 7
    vectors.cases("relu", "float64")[0].x[:] = 7
    assert np.array_equal(vectors.expected("exact-relu-small")["du"], before)
    assert not (vectors.cases("relu", "float64")[0].x == 7).any()


# Corrupt and hostile folders.

Documents = dict[str, Any]


@cache
def small() -> str:
    """A folder of three cases, as JSON of its documents, quick to read."""
    texts = {name: json.loads((make_vectors.FOLDER / name).read_text(encoding="utf-8"))
             for name in ("manifest.json", "exact.json", "rounded.json")}
    for name, ids in (("exact.json", ["exact-relu-one", "exact-leaky_relu(0.125)-one"]),
                      ("rounded.json", ["tanh-one"])):
        texts[name]["cases"] = [case for case in texts[name]["cases"] if case["id"] in ids]
        texts["manifest.json"]["files"][name]["cases"] = len(ids)
    return json.dumps(texts)


def encoded(documents: Documents, signed: bool = True) -> dict[str, bytes]:
    """Encode documents, with the manifest's sha256 made to agree if `signed`."""
    data = {name: json.dumps(document).encode() for name, document in documents.items()}
    return with_digests(data) if signed else data


def with_digests(data: dict[str, bytes]) -> dict[str, bytes]:
    manifest = json.loads(data["manifest.json"])
    for name in ("exact.json", "rounded.json"):
        manifest["files"][name]["sha256"] = hashlib.sha256(data[name]).hexdigest()
    return {**data, "manifest.json": json.dumps(manifest).encode()}


def read(data: dict[str, bytes]) -> list[Vector]:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in data.items():
            (Path(folder) / name).write_bytes(content)
        return read_vectors(folder)


def test_the_small_folder_is_right() -> None:
    assert [vector.id for vector in read(encoded(json.loads(small())))] == [
        "exact-relu-one", "exact-leaky_relu(0.125)-one", "tanh-one"]


def case_set(key: str, value: Any, file: str = "rounded.json") -> Callable[[Documents], None]:
    return lambda documents: documents[file]["cases"][0].__setitem__(key, value)


CORRUPTIONS: dict[str, tuple[Callable[[Documents], Any], str]] = {
    "unknown format": (lambda d: d["rounded.json"].update(format=2), "rounded.json, format: expected 1"),
    "unknown format of the manifest": (lambda d: d["manifest.json"].update(format="1"), "manifest.json, format"),
    "format true": (lambda d: d["manifest.json"].update(format=True), "manifest.json, format"),
    "a list": (lambda d: d.update({"rounded.json": []}), "rounded.json: expected an object"),
    "cases no list": (lambda d: d["rounded.json"].update(cases={}), "rounded.json: expected a list"),
    "case no object": (lambda d: d["rounded.json"].update(cases=[3]), "case 0: expected an object"),
    "missing key": (lambda d: d["rounded.json"]["cases"][0].pop("dW"), "case 0: expected dW; not there"),
    "missing errors": (lambda d: d["rounded.json"]["cases"][0].pop("du_allowed_float64"), "du_allowed_float64"),
    "unknown key": (case_set("dz", [1.0]), "no others; got .'dz'"),
    "unknown activation": (case_set("activation", "swish"), "activation: expected one of identity"),
    "activation a list": (case_set("activation", []), "activation: expected one of"),
    "alpha where none is": (case_set("alpha", 0.5), "'alpha'"),
    "unknown flag": (case_set("flags", ["haunted"]), "flags: expected a list of flags"),
    "flags a word": (case_set("flags", "exact"), "flags"),
    "id a path": (case_set("id", "../../x"), "id: expected a short name"),
    "too few numbers": (case_set("x", []), r"x: expected as many numbers as its shape \(1, 1, 1\) has; got 0"),
    "nested numbers": (case_set("x", [[1.0]]), "x: expected a flat list of finite numbers"),
    "words for numbers": (case_set("u", ["1"]), "u: expected a flat list"),
    "true for a number": (case_set("u", [True]), "u: expected a flat list"),
    "no list": (case_set("u", 1.0), "u: expected a flat list"),
    "huge number": (case_set("u", [10**400]), "u: expected a flat list of finite"),
    "not a float32": (case_set("u", [0.1]), "u: expected numbers that float32 holds"),
    "beyond float32": (case_set("u", [1e300]), "u: expected numbers that float32 holds"),
    "negative errors": (case_set("du_allowed_float32", [-1e-9]), "no number below 0"),
    "negative shape": (case_set("T", -1), "T: expected a whole number above 0"),
    "no steps": (case_set("T", 0), "T: expected a whole number above 0"),
    "huge shape": (case_set("T", 10**18), "x: expected as many numbers as its shape"),
    "half a step": (case_set("T", 1.5), "T: expected a whole number"),
    "same id": (case_set("id", "exact-relu-one"), "an id each"),
    "another number of cases": (lambda d: d["manifest.json"]["files"]["rounded.json"].update(cases=2),
                                "as many cases as manifest.json has, 2"),
    "no files": (lambda d: d["manifest.json"].update(files=[]), "manifest.json, files: expected files by name"),
    "flags no object": (lambda d: d["manifest.json"].update(flags=[]), "manifest.json, flags"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupt_folder_is_refused_and_the_message_names_the_file(name: str) -> None:
    change, message = CORRUPTIONS[name]
    documents = json.loads(small())
    change(documents)
    data = encoded(documents, signed=isinstance(documents["manifest.json"]["files"], dict))
    with pytest.raises(ValueError, match=message) as raised:
        read(data)
    assert re.search(r"(manifest|exact|rounded)\.json", str(raised.value))


@pytest.mark.parametrize("name", ["../rounded.json", "/etc/passwd", "a/b.json", "..\\x.json", "x\0.json", "", ".json"])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(name: str) -> None:
    documents = json.loads(small())
    documents["manifest.json"]["files"][name] = {"sha256": "0" * 64, "cases": 1}
    with pytest.raises(ValueError, match=r"manifest.json, files: expected names of .json files in its own folder"):
        read(encoded(documents))


@pytest.mark.parametrize("alpha", [0, -0.5, "0.1", None, True, 1e-400, [0.1]])
def test_alpha_is_a_number_above_zero(alpha: Any) -> None:
    documents = json.loads(small())
    documents["exact.json"]["cases"][1]["alpha"] = alpha
    with pytest.raises(ValueError, match="alpha: expected a finite number above 0"):
        read(encoded(documents))


@pytest.mark.parametrize("content", [
    b"", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b'{"format": 1}', b"[" * 100_000, b'{"format": NaN}',
    b'{"format": 1, "cases": [Infinity]}', b'{"format": 1, "format": 1, "cases": []}', b"1" * 5000])
@pytest.mark.parametrize("name", ["manifest.json", "rounded.json"])
def test_what_is_no_such_json_is_refused(name: str, content: bytes) -> None:
    data = encoded(json.loads(small())) | {name: content}
    with pytest.raises(ValueError, match=name):
        read(with_digests(data) if name != "manifest.json" else data)


def test_a_sha256_that_disagrees_and_a_file_that_is_missing_are_named() -> None:
    data = encoded(json.loads(small()))
    with pytest.raises(ValueError, match=r"rounded.json: expected the sha256 that manifest.json has"):
        read({**data, "rounded.json": data["rounded.json"] + b" "})
    with pytest.raises(FileNotFoundError, match=r"rounded.json: expected a file of conformance vectors"):
        read({name: content for name, content in data.items() if name != "rounded.json"})


def refused_or_right(data: dict[str, bytes]) -> bool:
    """Whether it is refused; anything but a clear refusal or a list of whole vectors fails."""
    found: list[Vector] = []
    message = ""
    try:
        found = read(data)
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
    assert found or re.search(r"\w\.json", message)
    for vector in found:
        resolve(vector.activation)
        arrays = [*vector.arguments.values(), *vector.results.values(), *vector.allowed["float32"].values()]
        assert all(array.dtype == np.float64 and np.isfinite(array).all() for array in arrays)
    return not found


def test_flipped_cut_and_inserted_bytes_are_refused() -> None:
    tally = Tally("byte corruptions refused")
    right = encoded(json.loads(small()))

    @given(st.sampled_from(sorted(right)), st.integers(0), st.integers(0, 255), st.integers(0, 3), st.booleans())
    @settings(max_examples=300)
    def property_(name: str, at: int, byte: int, kind: int, signed: bool) -> None:
        content = right[name]
        at %= len(content)
        end = {0: at + 1, 1: len(content), 2: at, 3: at + 1 + byte}[kind]
        changed = {**right, name: content[:at] + (bytes([byte]) if kind in (0, 2) else b"") + content[end:]}
        if signed and name != "manifest.json":
            changed = with_digests(changed)
        refused = refused_or_right(changed)
        assert refused or signed or changed == right or name == "manifest.json"
        tally.note(refused)

    property_()
    tally.require(0.5)


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from((10**400, -10**30, 1e308, "../x.json", "exact", "\ud800", [], {}, [1.0], 2**53)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5)


def test_random_edits_of_the_json_are_refused_or_harmless() -> None:
    tally = Tally("JSON edits refused")

    @given(st.data(), HOSTILE, st.sampled_from(("set", "set", "drop", "add")))
    @settings(max_examples=400)
    def property_(data: st.DataObject, value: Any, kind: str) -> None:
        documents = copy.deepcopy(json.loads(small()))
        place: Any = documents
        key: Any = data.draw(st.sampled_from(sorted(documents)))
        while isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 3)):
            place = place[key]
            key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if kind == "drop" and place is not documents:
            del place[key]
        elif kind == "add" and isinstance(place, dict) and place is not documents:
            place[str(value)[:10]] = value
        else:
            place[key] = value
        changed = encoded(documents, signed=False)
        with suppress(TypeError, KeyError, AttributeError, IndexError):  # where the manifest was edited away
            changed = with_digests(changed)
        tally.note(refused_or_right(changed))

    property_()
    tally.require(0.5)


# The schema.

SCHEMA = json.loads((make_vectors.FOLDER / "schema.json").read_text(encoding="utf-8"))
TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict), "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str), "integer": lambda v: type(v) in (int, float) and v == int(v),
    "number": lambda v: type(v) in (int, float)}


def fits(value: Any, schema: Any) -> bool:
    """As much of JSON Schema, draft 2020-12, as schema.json uses: keywords by the type that they are about."""
    if isinstance(schema, bool):
        return schema
    rules: dict[str, dict[str, Callable[[Any], bool]]] = {
        "any": {
            "$schema": lambda _: True, "title": lambda _: True, "description": lambda _: True, "$defs": lambda _: True,
            "$ref": lambda ref: fits(value, SCHEMA["$defs"][ref.removeprefix("#/$defs/")]),
            "type": lambda name: TYPES[name](value),
            "const": lambda const: value == const and isinstance(value, bool) == isinstance(const, bool),
            "enum": lambda values: value in values,
            "not": lambda inner: not fits(value, inner),
            "allOf": lambda inner: all(fits(value, each) for each in inner),
            "if": lambda inner: fits(value, schema["then" if fits(value, inner) else "else"]),
            "then": lambda _: True, "else": lambda _: True,
        },
        "string": {"pattern": lambda pattern: bool(re.search(pattern, value))},
        "number": {"minimum": lambda least: value >= least, "exclusiveMinimum": lambda least: value > least},
        "array": {
            "items": lambda inner: all(fits(each, inner) for each in value),
            "contains": lambda inner: any(fits(each, inner) for each in value),
            "minItems": lambda least: len(value) >= least,
            "uniqueItems": lambda _: len(set(value)) == len(value),
        },
        "object": {
            "required": lambda keys: all(key in value for key in keys),
            "properties": lambda inner: all(fits(value[key], each) for key, each in inner.items() if key in value),
            "additionalProperties": lambda _: set(value) <= set(schema["properties"]),
            "propertyNames": lambda inner: all(fits(key, inner) for key in value),
        },
    }
    unknown = set(schema) - {keyword for of_type in rules.values() for keyword in of_type}
    assert not unknown, f"schema.json uses what this check does not know: {unknown}"
    return all(rule(schema[keyword]) for type_, of_type in rules.items() if type_ == "any" or TYPES[type_](value)
               for keyword, rule in of_type.items() if keyword in schema)


def test_the_files_fit_the_schema() -> None:
    for name in ("exact.json", "rounded.json"):
        assert fits(json.loads((make_vectors.FOLDER / name).read_text(encoding="utf-8")), SCHEMA)
    assert fits(json.loads(small())["rounded.json"], SCHEMA)


BEYOND_THE_SCHEMA = {"unknown flag", "huge number", "not a float32", "beyond float32", "huge shape", "same id"}


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in BEYOND_THE_SCHEMA])
def test_the_schema_refuses_what_needs_no_arithmetic_to_refuse(name: str) -> None:
    documents = json.loads(small())
    CORRUPTIONS[name][0](documents)
    changed = documents["rounded.json"] != json.loads(small())["rounded.json"]
    assert fits(documents["rounded.json"], SCHEMA) == (not changed)


# The exact vectors.


@pytest.mark.parametrize("activation", NAMES)
def test_the_order_of_summation_does_not_matter_in_the_exact_vectors(activation: str) -> None:
    """Sums run backwards, and u·h first: a right implementation in float32 still meets every bit."""
    for case in vectors.cases(activation, "float32"):
        got = in_another_order(case)
        for name, want in vectors.expected(case.id).items():
            assert np.array_equal(got[name], want), (case.id, name)


def in_another_order(case) -> dict[str, np.ndarray]:
    """A naive float32 layer that adds everything in the opposite order, one number at a time."""
    x, W, u, b, h0, dh = case.arrays().values()
    below = np.float32(make_vectors.BELOW[case.activation])
    (T, B, M), N = x.shape, len(u)
    h, dz = np.zeros((T, B, N), np.float32), np.zeros((T + 1, B, N), np.float32)
    for t in range(T):
        z = u * (h[t - 1] if t else h0)
        for m in reversed(range(M)):
            z = z + x[t, :, m, None] * W[:, m]
        z = b + z
        h[t] = np.where(z > 0, z, below * z)
    for t in reversed(range(T)):
        z_positive = h[t] > 0
        v = u * dz[t + 1] + dh[t]
        dz[t] = np.where(z_positive, v, below * v)
    grads = {name: np.zeros(shape, np.float32) for name, shape in
             (("dx", x.shape), ("dW", W.shape), ("du", u.shape), ("db", b.shape))}
    for t in reversed(range(T)):
        before = h[t - 1] if t else h0
        for s in reversed(range(B)):
            grads["dW"] += dz[t, s, :, None] * x[t, s]
            grads["du"] += dz[t, s] * before[s]
            grads["db"] += dz[t, s]
        for n in reversed(range(N)):
            grads["dx"][t] += dz[t, :, n, None] * W[n]
    return {"h": h, **grads, "dh0": u * dz[0]}


def test_a_sum_that_would_round_is_refused() -> None:
    big, small = Fraction(2**23), Fraction(1, 2)
    assert exact.exact_sum([big, Fraction(1)]) == 2**23 + 1
    for terms in ([big, small], [Fraction(1, 3)], [big, -big, big]):
        with pytest.raises(exact.NotExact):
            exact.exact_sum(terms)


def test_the_rational_implementation_agrees_with_a_case_worked_by_hand() -> None:
    one, half = Fraction(1), Fraction(1, 2)
    results = exact.run(x=[[[one]], [[-2 * one]]], W=[[one]], u=[half], b=[half], h0=[[one]],
                        dh=[[[one]], [[3 * one]]], below=Fraction(1, 8))
    # z = 1 + ½ + ½ = 2, then −2 + ½ + 1 = −½; dz_2 = 3/8, dz_1 = 1 + ½·3/8 = 19/16
    assert results.h == [[[2]], [[Fraction(-1, 16)]]]
    assert make_vectors.flat(results.dx) == [Fraction(19, 16), Fraction(3, 8)]
    assert (results.du, results.db, results.dW) == ([Fraction(19, 16) + 2 * Fraction(3, 8)], [Fraction(25, 16)],
                                                    [[Fraction(19, 16) - 2 * Fraction(3, 8)]])
    assert results.dh0 == [[Fraction(19, 32)]]
