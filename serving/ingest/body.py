"""Bodies as they come over the wire: inflated."""

import zlib


class BodyError(ValueError):
    """A body that nothing can be read from; the text is one sentence."""


class TooLargeError(BodyError):
    """A body that is larger than it may be once it is inflated."""


def inflate(body: bytes, largest: int) -> bytes:
    """A gzip body, of one or more members, inflated.

    Raises:
        BodyError: it is no gzip, or cut off.
        TooLargeError: it inflates to more than `largest` bytes; no more than that is ever in memory.
    """
    found = bytearray()
    while body:
        member = zlib.decompressobj(wbits=31)
        try:
            found += member.decompress(body, largest + 1 - len(found))
        except zlib.error as error:
            raise BodyError("the body is not gzip, as `Content-Encoding` says") from error
        if len(found) > largest:
            raise TooLargeError(f"the body inflates to more than {largest:,} bytes")
        if not member.eof:
            raise BodyError("the gzip body is cut off")
        body = member.unused_data
    return bytes(found)
