"""A suite: a question, the grid of cells that answers it, the baseline and the budget. Read from TOML.

cells = (cases × grid − exclude) + include, each laid over `fixed`
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    PositiveInt,
    Tag,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from harness.schema.memory_size import MemorySize, memory_bytes

Scalar: TypeAlias = bool | int | float | str | None
OptionValue: TypeAlias = Scalar | tuple[Scalar, ...]


class Model(BaseModel):
    """Base of all that is read from outside: unknown keys are errors, values do not change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Choice(BaseModel):
    """A registered name with options: `"fsdp"` or `{ name = "fsdp", reshard_after_forward = false }`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(min_length=1)
    options: dict[str, OptionValue] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_text_or_table(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "options" not in value:
            options = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k != "name"}
            return {"name": value.get("name"), "options": options}
        return value

    @model_serializer
    def _as_written(self) -> str | dict[str, Any]:
        return {"name": self.name, **self.options} if self.options else self.name

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """What may be written: a name, or a table with the name and its options beside it."""
        one = {"type": ["string", "number", "boolean", "null"]}
        values = {"anyOf": [one, {"type": "array", "items": one}]}
        name = {"type": "string", "minLength": 1}
        table = {"type": "object", "properties": {"name": name}, "required": ["name"], "additionalProperties": values}
        return {"title": cls.__name__, "description": cls.__doc__, "anyOf": [name, table]}

    @property
    def label(self) -> str:
        """Short text for people: `fsdp(reshard_after_forward=false)`."""
        if not self.options:
            return self.name
        return f"{self.name}({', '.join(f'{k}={_text(v)}' for k, v in sorted(self.options.items()))})"

    def __hash__(self) -> int:
        return hash(self.label)


def _text(value: OptionValue) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one_or_more(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


Choices = Annotated[tuple[Choice, ...], BeforeValidator(_one_or_more)]

CLIP_SCHEMA = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "off"}]}


class Recipe(Model):
    """What is learned per step: optimizer, schedule, regularization. Keys left out take the workload's default."""

    optimizer: Choice | None = None
    """registered optimizer and its options, the learning rate apart"""
    lr: Annotated[float, Field(gt=0)] | None = None
    """peak learning rate"""
    schedule: Choice | None = None
    """registered learning-rate schedule and its options"""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """decoupled where the optimizer is; not applied to norms and biases"""
    clip: Annotated[float, Field(gt=0), WithJsonSchema(CLIP_SCHEMA)] | None = None
    """largest L2 norm of the whole gradient; "off": gradients are not clipped"""
    regularizers: Choices | None = None
    """registered regularizers and their options, each once; one that sets a key of the recipe wins over the default"""

    @model_validator(mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("clip") == "off":
            return {**value, "clip": CLIP_OFF}
        return value

    def over(self, default: Recipe) -> Recipe:
        """Return the recipe with the keys it leaves out taken from `default`."""
        mine = {key: value for key, value in self if value is not None}
        return default.model_copy(update=mine)

    @property
    def clips(self) -> bool:
        """Whether gradients are clipped."""
        return self.clip is not None and self.clip < CLIP_OFF

    @property
    def label(self) -> str:
        """Short text for people."""
        parts = [self.optimizer.label if self.optimizer else "", f"lr {self.lr:g}" if self.lr else ""]
        parts.append(self.schedule.label if self.schedule else "")
        parts.append(f"wd {self.weight_decay:g}" if self.weight_decay else "")
        parts.append(f"clip {self.clip:g}" if self.clip is not None and self.clips else "")
        parts += [regularizer.label for regularizer in self.regularizers or ()]
        return " ".join(part for part in parts if part)


CLIP_OFF = math.ldexp(1.0, 100)
"""A clip no gradient reaches: TOML's inf is refused in records (JSON has none), so `"off"` is stored as this."""

Device: TypeAlias = Literal["auto", "cpu", "cuda", "xpu", "mps"]
MicroBatch: TypeAlias = PositiveInt | Literal["max"]


class Settings(Model):
    """One point of the grid, as far as it is given; every key can stand in fixed, grid (as a list), case, include."""

    workload: Choice | None = None
    """registered workload"""
    size: str | None = None
    """one of the workload's sizes"""
    strategy: Choice | None = None
    """registered strategy: how a step is executed (default single)"""
    precision: Choice | None = None
    """registered precision (default fp32)"""
    techniques: Choices | None = None
    """registered techniques in the order of application (default none)"""
    recipe: Recipe | None = None
    """optimizer, schedule, regularization; what is left out is the workload's default"""
    global_batch: PositiveInt | None = None
    """samples per optimizer step, all ranks together"""
    batch_per_device: PositiveInt | None = None
    """in place of global_batch, for weak scaling: global_batch = batch_per_device × devices of the cell"""
    micro_batch: MicroBatch | None = None
    """samples per device and forward; accumulation is derived; "max": the largest that fits, found by trying"""
    steps: PositiveInt | None = None
    """timed optimizer steps (default 30)"""
    warmup_steps: Annotated[int, Field(ge=1)] | None = None
    """steps before the timed window; left out: found, by when step times are steady"""
    eval_every: Annotated[int, Field(ge=0)] | None = None
    """held-out evaluation every so many steps, off the clock; 0: never; left out: once, after `steps` steps"""
    devices: PositiveInt | Literal["auto"] | None = None
    """devices of a parallel strategy; auto: all accelerators, or two shares of the CPU's cores"""
    device: Device | None = None
    """kind of device (default auto: an accelerator where there is one, else cpu)"""


AXES: tuple[str, ...] = tuple(Settings.model_fields)


class RecipeGrid(Model):
    """A table of lists in place of a list of recipes: every combination is one. The same keys as Recipe, each a list.

    The same ladder of learning rates for every optimizer: `[grid.recipe]`, `optimizer = ["sgd", "adamw"]`,
    `lr = [1e-3, 1e-2]`.
    """

    optimizer: list[Choice] | None = None
    lr: list[Annotated[float, Field(gt=0)]] | None = None
    schedule: list[Choice] | None = None
    weight_decay: list[Annotated[float, Field(ge=0)]] | None = None
    clip: list[Annotated[float, Field(gt=0)] | Literal["off"]] | None = None
    regularizers: list[Choices] | None = None

    @property
    def recipes(self) -> list[Recipe]:
        """Every combination, the last key varying fastest."""
        lists = {key: values for key, values in self if values is not None}
        return [
            Recipe.model_validate(dict(zip(lists, values, strict=True)))
            for values in itertools.product(*lists.values())
        ]


def _list_or_table(value: Any) -> str:
    return "table" if isinstance(value, dict | RecipeGrid) else "list"


Recipes = Annotated[
    Annotated[list[Recipe], Tag("list")] | Annotated[RecipeGrid, Tag("table")], Discriminator(_list_or_table)
]


class Grid(Model):
    """Lists of values: every combination is a cell. The same keys as Settings, each a list."""

    workload: list[Choice] | None = None
    size: list[str] | None = None
    strategy: list[Choice] | None = None
    precision: list[Choice] | None = None
    techniques: list[Choices] | None = None
    recipe: Recipes | None = None
    global_batch: list[PositiveInt] | None = None
    batch_per_device: list[PositiveInt] | None = None
    micro_batch: list[MicroBatch] | None = None
    steps: list[PositiveInt] | None = None
    warmup_steps: list[Annotated[int, Field(ge=1)]] | None = None
    eval_every: list[Annotated[int, Field(ge=0)]] | None = None
    devices: list[PositiveInt | Literal["auto"]] | Literal["powers"] | None = None
    """"powers": 1, 2, 4, … and all devices of the machine, each strategy on the counts that it can use"""
    device: list[Device] | None = None

    @property
    def axes(self) -> dict[str, Sequence[Any]]:
        """The values of each key that is given; of a table of recipes every combination."""
        given = {key: values for key, values in self if values is not None}
        if isinstance(self.recipe, RecipeGrid):
            given["recipe"] = self.recipe.recipes
        return given


class Budget(Model):
    """How much is run."""

    repeats: PositiveInt = 3
    """rounds: each cell once per round, in fresh processes, in random order"""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
    """each fixes initial weights and data order"""
    trial_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """a trial is ended after so many seconds and kept as TIMEOUT"""
    oversubscribe: bool = False
    """on CPU, cells may ask for more devices than there are cores: it shows that they work, not how fast they are"""
    parity_steps: Annotated[int, Field(ge=1, le=100)] = 5
    """first steps of each trial whose loss and gradient norm are compared with one process in fp32"""
    trace: bool = False
    """after the last round one more trial per cell, of three steps under the profiler: exposed communication"""
    memory_limit: MemorySize | None = None
    """per device, such as "512MiB": trials run as if it had no more, so that one can see what fits"""

    @property
    def memory_limit_bytes(self) -> int | None:
        """The limit in bytes; None: as much as there is."""
        return None if self.memory_limit is None else memory_bytes(self.memory_limit)


class Suite(Model):
    """A question, a grid of cells, a baseline and a budget."""

    question: str = Field(min_length=1)
    """the question in a person's words; the page's first line"""
    baseline: Settings = Settings()
    """the cell others are compared with, by the keys that vary; cells equal on all other keys form a group"""
    fixed: Settings = Settings()
    """one value for every cell"""
    grid: Grid = Grid()
    """every combination"""
    case: list[Settings] = []
    """keys that move together (a workload with its size and batch); crossed with the grid"""
    exclude: list[Settings] = []
    """cells that match all keys of one of these are left out"""
    include: list[Settings] = []
    """further cells, each laid over fixed"""
    budget: Budget = Budget()
