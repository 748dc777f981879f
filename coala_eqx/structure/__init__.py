"""Theorem 3.1 as a statement about the matrix of a score-function estimator, and where an estimator breaks it."""

from coala_eqx.structure.columns import find_wrong as find_wrong
from coala_eqx.structure.columns import remark as remark
from coala_eqx.structure.findings import Finding as Finding
from coala_eqx.structure.findings import NotLinear as NotLinear
from coala_eqx.structure.kernel import Kernel as Kernel
from coala_eqx.structure.shaped import ShapedCertificate as ShapedCertificate
from coala_eqx.structure.shaped import certify_shaping as certify_shaping
from coala_eqx.structure.shaped import shaped_kernel as shaped_kernel
from coala_eqx.structure.shaping import ShapedKernel as ShapedKernel
