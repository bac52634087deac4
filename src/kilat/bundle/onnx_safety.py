"""Whether an ONNX file would reach outside itself, or is one that kilat can have written, before anything runs it."""

from kilat.bundle.graph.cost import IMAGE, MAX_NODES, Cost, measure
from kilat.bundle.graph.onnx_file import OnnxFile, OutsideError, read_onnx
from kilat.bundle.graph.operators import OPSET
from kilat.errors import ModelFileError
from kilat.locale import _

MAX_BYTES = 2 << 30


def require_self_contained(data: bytes, where: str) -> OnnxFile:
    """Return what is in an ONNX file that is whole and keeps everything inside itself.

    Args:
        data: the file.
        where: its name, for messages.

    Raises:
        ModelFileError: it is larger than 2 GiB, no ONNX file, cut off, or has tensors outside itself.
    """
    if len(data) > MAX_BYTES:
        raise ModelFileError(
            _("{where} has {size:,} bytes; more than {max_bytes:,} are refused.").format(
                where=where, size=len(data), max_bytes=MAX_BYTES
            )
        )
    try:
        return read_onnx(data)
    except OutsideError:
        raise ModelFileError(
            _(
                "{where} keeps weights in another file, which is refused: a model file must be complete in itself."
            ).format(where=where)
        ) from None
    except (IndexError, ValueError):
        raise ModelFileError(_("{where} is not an ONNX file, or it is damaged.").format(where=where)) from None


def require_bounded(file: OnnxFile, size: int, where: str, file_size: int) -> Cost:
    """Return what running a graph takes, if it is one that kilat can have written and takes no more than is allowed.

    Args:
        file: what is in it.
        size: side of the network's input in pixels.
        where: the name of the file, for messages.
        file_size: in bytes.

    Raises:
        ModelFileError: it has loops, branches, functions or operators that no model of kilat has, takes other inputs
            than pictures, contradicts itself, or takes too much memory or time.
    """
    if file.unwritten:
        parts = {
            "function": _("functions of its own"),
            "graph": _("loops or branches"),
            "sparse": _("sparse tensors"),
            "tensor": _("lists of tensors"),
            "training": _("a graph for training"),
        }
        found = ", ".join(parts[one] for one in sorted(file.unwritten) if one in parts)
        raise ModelFileError(_("{where} has {parts}, which no model of kilat has.").format(where=where, parts=found))
    if {domain or "ai.onnx": version for domain, version in file.opsets.items()} != {"ai.onnx": OPSET}:
        versions = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in file.opsets.items())
        message = _("{where} has operators of {versions}; those of kilat's models are of ai.onnx {opset}.")
        raise ModelFileError(message.format(where=where, versions=versions or _("no version"), opset=OPSET))
    if len(file.nodes) > MAX_NODES:
        message = _("{where} has {count:,} operators; more than {most:,} are refused.")
        raise ModelFileError(message.format(where=where, count=len(file.nodes), most=MAX_NODES))
    if [name for name in file.inputs if name not in file.constants] != [IMAGE]:
        raise ModelFileError(_("{where} does not take 8-bit pictures alone.").format(where=where))
    return measure(file, size, where=where, file_size=file_size)
