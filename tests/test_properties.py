"What must hold for whatever is given, tried on what Hypothesis thinks of."

import math
import re
import tempfile
from dataclasses import fields
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pact_nb.documents import translate, translate_yaml
from pact_nb.recipe_fields import NOT_KEPT
from pact_nb.recipes import RECIPES, Recipe, field_types, from_params, from_yaml, to_yaml

KINDS = field_types()
FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def values(f) -> st.SearchStrategy:
    "Values that a field may take by itself."
    m, kind = f.metadata, KINDS[f.name]
    if f.name == "recipe":
        return st.sampled_from(list(RECIPES))
    if m["choices"]:
        return st.sampled_from(list(m["choices"]))
    if m["bits"]:
        return st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 32])
    if kind is bool:
        return st.booleans()
    low = m["lo"] if m["lo"] is not None else m["above"]
    if kind is int:
        return st.integers(low or 0, m["hi"] or 1000)
    if kind is float:
        return st.floats(
            low or 0, m["hi"] or 1e6, exclude_min=m["above"] is not None, allow_nan=False
        )
    if f.name == "milestones":
        return st.lists(st.integers(1, 300), unique=True, max_size=4).map(
            lambda v: ",".join(map(str, sorted(v)))
        )
    if f.name == "bits_by":
        return st.sampled_from(["", "layer1=2", "*.conv2=2/8, layer3=4/4"])
    return st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=20)


NAMED = {f.name: f for f in fields(Recipe)}
recipes = st.sets(st.sampled_from(list(NAMED)), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({n: values(NAMED[n]) for n in sorted(names)})
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@FEW
@given(recipes)
def test_recipes_come_back_from_yaml(params):
    "A recipe that can be made is the same after it was written and read."
    try:
        r = from_params(params, lambda s: None)
    except (ValueError, TypeError):
        assume(False)
    with tempfile.TemporaryDirectory() as tmp:
        (file := Path(tmp) / "params.yaml").write_text(to_yaml(r), encoding="utf8")
        again = from_yaml(file)
    assert to_yaml(again) == to_yaml(r)
    kept = lambda of: {k: v for k, v in vars(of).items() if k not in NOT_KEPT}
    assert kept(again) == kept(r)


@FEW
@given(st.dictionaries(st.sampled_from([*KINDS, "abits", "_x", ""]), anything, max_size=4))
def test_any_value_is_taken_or_refused_in_words(params):
    """`ValueError` or `TypeError` of bounded length that names a field; or a recipe whose values
    are finite."""
    try:
        r = from_params(params, lambda s: None)
    except (ValueError, TypeError) as e:
        named = (*(n or "''" for n in params), "recipe")
        assert any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", str(e)) for n in named), str(e)
        assert len(str(e)) < 2500 and "not supported between" not in str(e)
        return
    assert all(math.isfinite(v) for v in vars(r).values() if isinstance(v, float))


@FEW
@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(content):
    with tempfile.TemporaryDirectory() as tmp:
        (file := Path(tmp) / "x.yaml").write_bytes(content)
        try:
            from_yaml(file)
        except (ValueError, TypeError) as e:
            assert "x.yaml" in str(e)


@FEW
@given(
    st.lists(
        st.sampled_from(
            [
                "--dataset",
                "cifar10",
                "svhn",
                "--act-bits",
                "4",
                "0",
                "--use_quantize_weight",
                "--weight_thres",
                "0.1",
                "--quantized_layer1",
                "2",
                "--lr",
                "a_bit=8",
                "version=pact",
                "train.py",
                "--config",
                "-x",
            ]
        )
        | st.text(max_size=8),
        max_size=8,
    )
)
def test_any_command_line_is_translated_or_refused(words):
    try:
        translate(words).recipe()
    except (ValueError, TypeError, OSError) as e:
        assert str(e)


@FEW
@given(
    st.dictionaries(
        st.sampled_from(["dataset", "model", "training", "logging", "hardware", "x"]),
        anything,
        max_size=4,
    )
)
def test_any_nested_file_is_translated_or_refused(nested):
    try:
        translate_yaml(nested).recipe()
    except (ValueError, TypeError) as e:
        assert str(e)
