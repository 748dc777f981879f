"""Theorem 3.1 as a statement about the matrix of a score-function estimator, and where an estimator breaks it."""

from coala_eqx.structure.columns import find_wrong as find_wrong
from coala_eqx.structure.columns import remark as remark
from coala_eqx.structure.findings import Finding as Finding
from coala_eqx.structure.findings import NotLinear as NotLinear
from coala_eqx.structure.kernel import Kernel as Kernel
