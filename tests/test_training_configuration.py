"""A configuration is plain data: it travels as JSON and names what is wrong in it."""

from __future__ import annotations

import json

import pytest
from runs import PLAIN, SMALL

from indrnn_np.experiments.configuration import Configuration, from_dict


def test_it_goes_through_json_and_comes_back() -> None:
    for given in (SMALL, PLAIN.replace(model={"kind": "Plain", "weight_std": (0.5, None)}, stop_below=0.1)):
        data = given.as_dict()
        again = from_dict(json.loads(json.dumps(data)))
        assert again.as_dict() == data
        assert again.make_model(again.make_task()) == given.make_model(given.make_task())


@pytest.mark.parametrize(("change", "error", "said"), [
    ({"updates": 0}, ValueError, "updates: expected a whole number above 0; got 0"),
    ({"batch": 2.5}, TypeError, "batch: expected a whole number above 0; got float"),
    ({"seed": -1}, ValueError, "seed: expected a whole number of at least 0; got -1"),
    ({"clip": 0.0}, ValueError, "clip: expected a finite number above 0; got 0.0"),
    ({"dtype": "float16"}, TypeError, "dtype: expected float32 or float64; got 'float16'"),
    ({"device": "tpu"}, ValueError, "device: expected one of cpu, gpu; got 'tpu'"),
    ({"task": {"steps": 3}}, TypeError, "task: expected a mapping with 'name'; got {'steps': 3}"),
    ({"model": "Plain"}, TypeError, "model: expected a mapping with 'kind'; got 'Plain'"),
    ({"schedule": {"name": "cosin"}}, ValueError, "schedule name: expected one of constant, step, cosine, plateau"),
    ({"schedule": {"name": "plateau"}}, ValueError, "evaluate_every: expected a whole number, since a plateau"),
    ({"evaluate_every": 0}, ValueError, "evaluate_every: expected a whole number above 0; got 0"),
    ({"project": 1}, TypeError, "project: expected True or False; got int"),
])
def test_what_is_wrong_in_it_is_named(change, error, said) -> None:
    with pytest.raises(error) as caught:
        PLAIN.replace(**change)
    assert str(caught.value).startswith(said)


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(TypeError, match=r"^update: expected a field of a configuration \(task, model, updates, "):
        from_dict(PLAIN.as_dict() | {"update": 3})
    with pytest.raises(TypeError, match=r"^updates: expected a value in every configuration; got none\."):
        from_dict({"task": {"name": "adding"}, "model": {"kind": "Plain"}})


def test_unknown_models_and_options_of_models_are_named() -> None:
    task = PLAIN.make_task()
    with pytest.raises(ValueError, match="model kind: expected one of Plain, Residual"):
        PLAIN.replace(model={"kind": "Pain"}).make_model(task)
    with pytest.raises(TypeError, match=r"^hiden: expected an option of the model Plain .* Did you mean 'hidden'\?"):
        PLAIN.replace(model={"kind": "Plain", "hiden": 3}).make_model(task)
    with pytest.raises(ValueError, match="name: expected one of adding"):
        Configuration(task={"name": "addition"}, model={"kind": "Plain"}, updates=1).make_task()


def test_without_a_gpu_the_device_says_so() -> None:
    from indrnn_np import array_module
    try:
        array_module.require_cupy()
    except (ModuleNotFoundError, RuntimeError) as error:
        with pytest.raises(type(error), match="CuPy"):
            PLAIN.replace(device="gpu").namespace()
