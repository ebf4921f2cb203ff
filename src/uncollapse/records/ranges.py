"""Numbers with the range that reading checks."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

Count = Annotated[int, Ge(0)]
PositiveCount = Annotated[int, Ge(1)]
Fraction = Annotated[float, Ge(0), Le(1)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
