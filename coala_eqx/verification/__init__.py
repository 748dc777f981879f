"""Certificates: hold an estimator against the exact gradient of a problem."""

from coala_eqx.structure.columns import find_wrong as find_wrong
from coala_eqx.structure.shaped import ShapedCertificate as ShapedCertificate
from coala_eqx.structure.shaped import certify_shaping as certify_shaping
from coala_eqx.structure.shaped import shaped_kernel as shaped_kernel
from coala_eqx.verification.certificate import TOLERANCE as TOLERANCE
from coala_eqx.verification.certificate import Certificate as Certificate
from coala_eqx.verification.certificate import certify as certify
from coala_eqx.verification.certificate import certify_all as certify_all
from coala_eqx.verification.kernel_picture import draw_kernels as draw_kernels
from coala_eqx.verification.problems import NamedProblem as NamedProblem
from coala_eqx.verification.problems import default_problems as default_problems
from coala_eqx.verification.structural import SIZES as SIZES
from coala_eqx.verification.structural import StructuralCertificate as StructuralCertificate
from coala_eqx.verification.structural import certify_structure as certify_structure
