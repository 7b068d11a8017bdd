"""What is taken if nothing is said."""

from pydantic import BaseModel

from matkit.cli.app import BUILDERS, MORE
from matkit.cli.configs import ALL
from matkit.cli.data_options import OPTIONS
from matkit.models import published
from matkit.models.shipped import DEFAULT_POTENTIAL

EVERY: dict[str, type[BaseModel]] = {**ALL, **OPTIONS, **BUILDERS, **MORE}


def test_no_default_needs_an_extra():
    """`label` and `finetune` began with a model whose weights come with another package."""
    elsewhere = published.published()
    for command, options in EVERY.items():
        defaults = {
            n: f.get_default(call_default_factory=True) for n, f in options.model_fields.items()
        }
        wrong = {n: v for n, v in defaults.items() if isinstance(v, str) and v in elsewhere}
        assert not wrong, command


def test_the_shipped_potential_is_the_default():
    assert EVERY["label"].model_fields["calculator"].default == DEFAULT_POTENTIAL
    assert EVERY["finetune"].model_fields["foundation_model"].default == DEFAULT_POTENTIAL
    assert EVERY["relax"].model_fields["model"].default == DEFAULT_POTENTIAL
