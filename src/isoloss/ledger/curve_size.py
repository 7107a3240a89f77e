"""Whether a stored curve can be unpacked safely: its stated sizes are read before anything is decompressed.

Arrow believes the length that stands in front of each compressed buffer, so that a kilobyte can ask for a terabyte.
Arrow's Python library does not tell these lengths; they are read here from the message's own header (FlatBuffers, see
https://arrow.apache.org/docs/format/Columnar.html, ``Message.fbs``).
"""

from __future__ import annotations

import struct

import pyarrow as pa

#: Bytes of the largest curve, packed and unpacked: a million points of eight columns.
CURVE_BYTES = 64 << 20
_RECORD_BATCH = 3


def curve_fault(blob: bytes) -> str:
    """What is wrong with a packed curve (`isoloss.ledger.records.pack_curve`); empty where nothing is."""
    try:
        if _stated(blob) > CURVE_BYTES:
            return f"unpacks to more than {CURVE_BYTES:,} bytes"
        with pa.ipc.open_stream(blob) as reader:
            if any(field.type != pa.float64() for field in reader.schema):
                return "has a column that is not of numbers"
            table = reader.read_all()
        table.validate(full=True)
        return "names a column twice" if len(set(table.column_names)) < table.num_columns else ""
    except (pa.ArrowException, ValueError, TypeError, MemoryError, OSError, struct.error, IndexError):
        return "can't be read"


def _stated(blob: bytes) -> int:
    """Bytes that the buffers of all record batches say they unpack to."""
    source, whole = pa.BufferReader(blob), 0
    while True:
        try:
            message = pa.ipc.read_message(source)
        except EOFError:
            return whole
        if message.type == "dictionary":
            raise ValueError("a curve has no dictionary")
        if message.type == "record batch":
            body = message.body.to_pybytes() if message.body is not None else b""
            for offset, length in _buffers(message.metadata.to_pybytes()):
                stated = struct.unpack_from("<q", body, offset)[0] if length else 0
                whole += length if stated == -1 else stated
                if stated < -1 or whole > CURVE_BYTES:
                    return CURVE_BYTES + 1


def _buffers(metadata: bytes) -> list[tuple[int, int]]:
    """(offset, length) of each buffer of the record batch whose header is `metadata`."""
    message = struct.unpack_from("<I", metadata, 0)[0]
    if metadata[message + _field(metadata, message, 1)] != _RECORD_BATCH:
        raise ValueError("no record batch")
    batch = _follow(metadata, message + _field(metadata, message, 2))
    vector = _follow(metadata, batch + _field(metadata, batch, 2))
    count = struct.unpack_from("<I", metadata, vector)[0]
    if count > 1000:
        raise ValueError("too many buffers")
    return [struct.unpack_from("<qq", metadata, vector + 4 + 16 * i) for i in range(count)]


def _field(data: bytes, table: int, number: int) -> int:
    """Where field `number` of a FlatBuffers table lies, from the table's start."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    at: int = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0]
    if at == 0 or vtable < 0:
        raise ValueError("a field is missing")
    return at


def _follow(data: bytes, at: int) -> int:
    there: int = at + struct.unpack_from("<I", data, at)[0]
    return there
